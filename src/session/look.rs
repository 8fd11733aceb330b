//! Asking a backend what a session has left on it, before it goes back: settings follow the session, anything else
//! makes it keep the backend.

use std::borrow::Cow;
use std::sync::Arc;

use tokio::time::Instant;

use super::asking::Wanted;
use super::functions::{Asked, Callee, Judgement, cut};
use super::state::{Keeps, Parts};
use super::{Leased, Sequences, Session};
use crate::settings::{AUTHORIZATION, CLIENT_ENCODING, Carried, Profile, ROLE, is_utf8};
use crate::sql::{Effects, Unnamed};
use crate::wire::Frame;
use crate::wire::view;

/// What was asked, and the answer as it comes.
#[derive(Debug, Default)]
pub(super) struct Look {
    parts: Parts,
    settings: Vec<(Vec<u8>, Vec<u8>)>,
    keeps: Keeps,
    /// How many custom settings were asked for.
    custom: usize,
    prepared: Vec<Box<[u8]>>,
    callees: Vec<Callee>,
    /// Something was said of these.
    told: bool,
    asked: Asked,
    /// There are settings that the session may neither set nor reset.
    beyond_reach: bool,
    /// The backend is rid of all settings once it has answered.
    resets: bool,
    /// Names and values come as digits of their bytes in UTF-8.
    in_hex: bool,
}

impl Session {
    /// What keeps the backend with the session beyond its transaction, as far as it is known.
    #[must_use]
    pub fn keeps(&self) -> Keeps {
        self.state.keeps()
    }

    /// There is no room to keep the backend for this alone.
    pub fn forgo(&mut self, keeps: Keeps) {
        self.state.forgo(keeps);
    }

    /// Whether the session keeps its backend only because that is better, and would rather not where others need it.
    #[must_use]
    pub fn may_forgo_backend(&self) -> bool {
        let keeps = self.keeps();
        let insists = keeps.contains(Keeps::SEQUENCES) && matches!(self.rules.sequences, Sequences::Pin);
        !keeps.is_empty() && Keeps::BETTER_KEPT.contains(keeps) && !insists && self.is_between_transactions()
    }

    /// Whether anything of the session may be on its backend beyond its transaction.
    #[must_use]
    pub fn may_have_left_state(&self) -> bool {
        let unsure = self.turn.as_ref().is_some_and(|turn| !turn.unsure.is_empty() || !turn.unknown.is_empty());
        let told = self.turn.as_ref().is_some_and(|turn| !turn.told.is_empty());
        unsure || told || self.state.is_uncertain() || !self.keeps().is_empty()
    }

    /// Whether the backend that goes back keeps something of the session for good, and is to be closed.
    #[must_use]
    pub fn takes_backend_along(&mut self) -> bool {
        self.state.take_stays()
    }

    /// Whether rows of the backend are the session's own business now.
    #[must_use]
    pub fn is_looking(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| turn.looking.is_some())
    }

    /// What must be asked of the backend before it can go back; `None` where nothing needs to be known.
    #[must_use]
    pub fn look(&mut self, leased: &mut Leased<'_>, now: Instant) -> Option<Vec<u8>> {
        self.settle_unsure(now);
        let mut parts = self.state.parts();
        let callees = self.turn.as_mut().map(|turn| std::mem::take(&mut turn.unknown)).unwrap_or_default();
        // Who gets the backend next says so under what ends statements too soon for that.
        let hasty = self.state.keeps().is_empty() && leased.carried.profile.is_hasty();
        if parts.is_empty() && callees.is_empty() && !hasty {
            return None;
        }
        // What was called may turn out to leave nothing, and then that is all that is asked.
        let of_session = !parts.is_empty();
        if of_session && [ROLE, AUTHORIZATION].iter().any(|who| self.profile.get(who).is_some()) {
            parts |= Parts::HIDDEN;
        }
        let in_hex = !is_read_as_utf8(&self.profile, leased.carried);
        if of_session {
            self.settle_custom(in_hex);
            self.state.asked();
        }
        // What is learnt of functions may be a reason to ask again, which must find the settings still there.
        let forgets = parts.contains(Parts::SETTINGS) && callees.is_empty() && self.state.take_unnamed();
        let resets = forgets || (!of_session && callees.is_empty());
        let (asked, custom) = (self.rules.functions.asked(now), self.state.custom().len());
        let turn = self.turn.get_or_insert_default();
        let wanted = Wanted { parts, custom: self.state.custom(), callees: &callees, resets, in_hex };
        let question = wanted.ask(turn, leased.held);
        turn.looking = Some(Look { parts, callees, asked, resets, in_hex, custom, ..Look::default() });
        Some(question)
    }

    /// Leaves those custom settings to be asked for that can be.
    fn settle_custom(&mut self, in_hex: bool) {
        // Those that the session wants anyway, from its start on.
        let wanted = Arc::clone(&self.profile);
        // Names that were read in another encoding are not known by these bytes.
        let can_ask = |name: &[u8]| {
            name.is_ascii() || wanted.get(name).is_some() || (!in_hex && std::str::from_utf8(name).is_ok())
        };
        if !self.state.custom().iter().all(|name| can_ask(name)) {
            self.state.note_unnamed();
            self.state.retain_custom(usize::MAX, can_ask);
        }
        self.state.note_custom(wanted.iter().map(|(name, _)| name).filter(|name| name.contains(&b'.')));
    }

    /// Takes one row of the answer.
    pub(super) fn saw_row(&mut self, frame: &Frame<'_>) {
        let Some(look) = self.turn.as_mut().and_then(|turn| turn.looking.as_mut()) else { return };
        // A custom setting that does not exist has no value.
        let row = view::data_row(frame.body);
        let Ok([Some(what), Some(name), Some(value)]) = row.as_deref() else { return };
        let plain = |said| if look.in_hex { from_hex(said) } else { Cow::Borrowed(said) };
        let (name, value) = (&*plain(name), &*plain(value));
        let functions = &self.rules.functions;
        look.told |= !matches!(*what, b"" | b"s" | b"u" | b"t" | b"l" | b"c" | b"p" | b"n" | b"j");
        match *what {
            // Of a transaction that is over.
            b"s" if name.starts_with(b"transaction_") && name != b"transaction_timeout" => {}
            // Asked again, it is what the question itself has set.
            b"s" if name == b"statement_timeout" && look.settings.iter().any(|(known, _)| **known == *name) => {}
            b"u" => {
                look.beyond_reach = true;
                look.settings.push((name.to_vec(), value.to_vec()));
            }
            b"s" => look.settings.push((name.to_vec(), value.to_vec())),
            b"t" => look.keeps |= Keeps::TEMPORARY_OBJECTS,
            b"l" => look.keeps |= Keeps::ADVISORY_LOCKS,
            b"c" => look.keeps |= Keeps::HELD_CURSORS,
            b"p" => {
                look.keeps |= Keeps::PREPARED_STATEMENTS;
                look.prepared.push(name.into());
            }
            b"n" => look.keeps |= Keeps::CHANNELS,
            b"f" if functions.learn(look.asked, name, value) => self.rules.sequences.ask(),
            b"h" if functions.learn_foreign(look.asked, name, value) => self.rules.sequences.ask(),
            b"d" => self.rules.sequences.ask(),
            b"b" => functions.learn_call(look.asked, Callee::Ambiguous(cut(name)), value),
            b"a" => functions.learn_call(look.asked, Callee::Function(cut(name)), value),
            b"g" => functions.learn_call(look.asked, Callee::Triggers(cut(name)), value),
            b"r" => functions.learn_call(look.asked, Callee::Reads(cut(name)), value),
            b"o" => functions.learn_call(look.asked, Callee::Operators, value),
            b"e" => functions.learn_call(look.asked, Callee::AllTables, value),
            b"k" => functions.learn_call(look.asked, Callee::Truncates, value),
            b"j" => functions.expect_named(name),
            b"v" => functions.learn_call(look.asked, Callee::Defines, value),
            b"w" if functions.learn_said(look.asked, Callee::Reads(cut(name)), value) => self.rules.sequences.ask(),
            b"i" if functions.learn_said(look.asked, Callee::Function(cut(name)), value) => self.rules.sequences.ask(),
            b"x" if functions.learn_said(look.asked, Callee::Triggers(cut(name)), value) => self.rules.sequences.ask(),
            b"y" if functions.learn_said(look.asked, Callee::Operators, value) => self.rules.sequences.ask(),
            b"z" if functions.learn_said(look.asked, Callee::AllTables, value) => self.rules.sequences.ask(),
            b"q" if functions.learn_said(look.asked, Callee::Truncates, value) => self.rules.sequences.ask(),
            _ => {}
        }
    }

    /// The answer is complete: the backend carries these settings, and the session wants them from now on, with
    /// those it started with where it has set them back.
    pub(super) fn looked(&mut self, leased: &mut Leased<'_>, now: Instant) {
        let Some(mut look) = self.turn.as_mut().and_then(|turn| turn.looking.take()) else { return };
        self.learn_callees(&look, now);
        self.state.learn(look.parts, look.keeps);
        if look.beyond_reach {
            self.state.keep_for_good(Keeps::SETTINGS);
        }
        if look.parts.contains(Parts::PREPARED_STATEMENTS) {
            self.state.set_prepared(std::mem::take(&mut look.prepared));
        }
        let is_who = |name: &[u8]| name == ROLE || name == AUTHORIZATION;
        if !look.parts.contains(Parts::SETTINGS) {
            if look.resets {
                let who = leased.carried.profile.iter().filter(|(name, _)| is_who(name));
                let carried = self.rules.profiles.intern(who);
                leased.carried.turn_into(carried, &self.rules.profiles);
            }
            return;
        }
        self.state.retain_custom(look.custom, |name| look.settings.iter().any(|(set, _)| **set == *name));
        self.tell_apart(&look, leased);
        // What the session started with differs from a backend's own default: that it was set to that must be kept.
        let started_with = |name: &[u8]| !is_who(name) && self.startup.get(&name.to_ascii_lowercase()).is_some();
        let changed = || {
            let set = look.settings.iter().map(|(name, value)| (name.as_slice(), value.as_slice()));
            set.filter(|(name, value)| leased.carried.default_of(name) != Some(value) || started_with(name))
        };
        let carried = self.rules.profiles.intern(changed().filter(|(name, _)| !look.resets || is_who(name)));
        // Who it runs as is never a matter of how it started.
        let started = self.startup.iter().filter(|(name, _)| !is_who(name));
        let wanted = self.rules.profiles.intern(started.chain(changed()));
        if look.resets {
            leased.carried.turn_into(carried, &self.rules.profiles);
        } else {
            let is_default = |(name, value): &(Vec<u8>, Vec<u8>)| leased.carried.default_of(name) == Some(value);
            let moot: Vec<_> = look.settings.iter().filter(|set| is_default(set) && !is_who(&set.0)).collect();
            for (name, _) in moot.into_iter().filter(|(name, _)| carried.get(&name.to_ascii_lowercase()).is_none()) {
                leased.carried.note_moot(&name.to_ascii_lowercase());
            }
            leased.carried.profile = carried;
        }
        self.profile = wanted;
    }

    /// What the backend has reported while the session was setting something, and the session has not set, is the
    /// server's new default.
    fn tell_apart(&mut self, look: &Look, leased: &mut Leased<'_>) {
        let reported = Arc::clone(&leased.carried.profile);
        let is_set = |name: &[u8]| look.settings.iter().any(|(set, _)| set.eq_ignore_ascii_case(name));
        for (name, value) in reported.iter().filter(|(name, _)| !is_set(name)) {
            leased.carried.set_default(name, value, &self.rules.profiles);
        }
        // The client has heard it.
        self.told = Arc::clone(&leased.carried.defaults);
    }

    /// The bodies of these are known now. Where they may leave what has not been asked for, or call what is not known,
    /// the backend is asked once more.
    fn learn_callees(&mut self, Look { callees, asked, parts, told, .. }: &Look, now: Instant) {
        if callees.is_empty() {
            return;
        }
        if *told && self.rules.functions.has_changed_since(*asked) {
            // Some of it may have been forgotten while it was said.
            self.state.note(Effects::CALLS);
            self.state.note_unnamed();
        }
        self.rules.functions.learnt(*asked, callees);
        let judgement = self.rules.functions.judge(callees.iter().cloned(), callees, now);
        self.note_called(&judgement);
        let began_a_name = self.turn.as_mut().is_some_and(|turn| std::mem::take(&mut turn.began_a_name));
        self.note_unnamed(match judgement.unnamed {
            Unnamed::Maybe if began_a_name => Unnamed::Likely,
            unnamed => unnamed,
        });
        let new = judgement.custom.iter().any(|name| !self.state.custom().iter().any(|known| **known == **name));
        self.state.note_custom(judgement.custom.iter());
        if judgement.may_leave && (new || !parts.is_all()) {
            self.state.note(Effects::CALLS);
        }
        if !judgement.unknown.is_empty() {
            self.note_unknown(judgement.unknown);
        }
    }

    /// The backend would not say what it holds: it is asked for all once more, and then stays with the session. Where
    /// somebody has `locked` what was called, that may have done anything, and is asked about when it is called again.
    pub(super) fn look_failed(&mut self, locked: bool) {
        let Some(turn) = &mut self.turn else { return };
        let look = turn.looking.take().unwrap_or_default();
        if locked && !look.callees.is_empty() {
            let stateful = self.rules.functions.may_be_stateful();
            self.note_called(&Judgement { draws: true, stateful, ..Judgement::default() });
            self.state.note_unnamed();
            self.state.note(Effects::ANYTHING);
            return;
        }
        if std::mem::replace(&mut turn.look_failed, true) {
            self.state.note_unnamed();
            self.state.keep(Keeps::UNKNOWN);
            return;
        }
        turn.unknown.extend(look.callees);
        if look.resets {
            self.state.note_unnamed();
        }
        self.state.note(Effects::ANYTHING);
    }
}

/// Whether what PostgreSQL sends comes as UTF-8, or, from a database that has no encoding, as it is kept.
fn is_read_as_utf8(profile: &Profile, carried: &Carried) -> bool {
    let client = profile.get(CLIENT_ENCODING).or_else(|| carried.default_of(CLIENT_ENCODING));
    let server = carried.default_of(b"server_encoding");
    let none = |name| name == b"SQL_ASCII";
    client.is_none_or(|name| is_utf8(name) || (none(name) && server == Some(b"UTF8"))) || server.is_some_and(none)
}

/// The bytes that these digits stand for, two for each.
fn from_hex(digits: &[u8]) -> Cow<'_, [u8]> {
    let digit =
        |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok()).unwrap_or_default();
    let byte = |pair: &[u8]| pair.iter().fold(0, |value: u8, next| value << 4 | digit(*next));
    Cow::Owned(digits.chunks(2).map(byte).collect())
}
