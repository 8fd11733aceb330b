//! What a client's texts may do to its session.

use std::sync::Arc;

use tokio::time::Instant;

use super::code::{Code, without_a_name};
use super::functions::{Callee, Judgement, Outdated, extend};
use super::state::names_settings;
use super::turn::Turn;
use super::{Keeps, Session};
use crate::prepared::{Origin, Statement};
use crate::settings::{CLIENT_ENCODING, Profile, SEARCH_PATH, is_plan_neutral};
use crate::sql::{
    Command, Definitions, Digest, Effects, Encoding, Kind, Lexer, Lexing, Pattern, TokenKind, Traits, Unnamed, Weighed,
    begins_a_name, custom_names, do_bodies, first_word, is_meant, runs_given, spelled_names, unnamed_settings,
};
use crate::wire::Frame;
use crate::wire::view::{Parse, Transaction, query_text};

/// A transaction that calls more than this, of which is not known what it does, may have done anything.
const MOST_UNKNOWN: usize = 1024;

/// More texts than these that have not been parsed when a transaction ends may have done anything.
const MOST_UNSURE: usize = 64;

impl Session {
    /// What is known of a text.
    pub(super) fn weigh(&self, text: &[u8]) -> Weighed {
        match self.rules.patterns.weigh(text, &self.lexing()) {
            // A view that it reads may tell what the backend must be given before.
            Weighed::Later(_) if self.rules.functions.may_tell(Effects::LISTS) => Weighed::Known(self.learn(text)),
            weighed => weighed,
        }
    }

    /// What decides, with the text and the types of its parameters, which statement a Parse makes.
    pub(super) fn plan_key(&self) -> u64 {
        self.plan_key_by(&self.profile)
    }

    /// The same where a text is read by these settings.
    pub(super) fn plan_key_by(&self, profile: &Profile) -> u64 {
        profile.plan_key() ^ self.rules.scope
    }

    /// What is known of the text of a Parse, which others may have prepared before.
    pub(super) fn weigh_parse(&mut self, parse: &Parse<'_>) -> Weighed {
        let plan_key = self.plan_key();
        let Some(statement) = self.rules.registry.known(parse.text, parse.types, plan_key) else {
            return self.weigh(parse.text);
        };
        self.weigh_again(&statement);
        let weighed = statement.weighed().clone();
        self.turn.get_or_insert_default().head.found = Some((plan_key, statement));
        weighed
    }

    /// What a statement has from this session that is the first to prepare it.
    pub(super) fn origin(&self, text: &[u8]) -> Origin {
        Origin { weighed: self.weigh(text), read_by: Some(Arc::clone(&self.profile)) }
    }

    /// Takes over what has been found out about a statement's text since it was prepared.
    pub(super) fn weigh_again(&self, statement: &Statement) {
        if let &Weighed::Later(digest) = statement.weighed()
            && let Some(pattern) = self.rules.patterns.known_by(digest).or_else(|| {
                // What it reads may tell what the backend must be given before.
                self.rules.functions.may_tell(Effects::LISTS).then(|| self.learn(&statement.text))
            })
        {
            statement.learn(pattern);
        }
    }

    /// What is known of a Query's text, which may not be here whole.
    pub(super) fn weigh_query(&self, frame: &Frame<'_>) -> Weighed {
        if frame.is_whole() { self.weigh(query_text(frame.body)) } else { Weighed::Anything }
    }

    /// What a text may do to the session, as far as that is known by now.
    pub(super) fn effects_of(&self, weighed: &Weighed, text: &[u8]) -> Effects {
        match weighed {
            // Only the beginning of what streams past is here, and most that begin so are one statement.
            Weighed::Anything if first_word(text).eq_ignore_ascii_case(b"execute") => {
                Effects::ANYTHING | Effects::EXECUTES
            }
            Weighed::Anything => Effects::ANYTHING,
            Weighed::Known(pattern) if pattern.traits.is_plain() => {
                if self.rules.functions.may_tell(Effects::TELLS) {
                    self.told_by(pattern, text).known
                } else {
                    Effects::NONE
                }
            }
            Weighed::Known(pattern) => {
                let effects = self.effects_of_pattern(pattern) | self.told_by(pattern, text).known;
                let called = match &*pattern.traits.functions {
                    [] => Unnamed::No,
                    _ => self.given_by(text, self.rules.functions.unnamed(callees(pattern))),
                };
                let unnamed = called.max(self.unnamed_in(effects, text));
                if unnamed == Unnamed::Likely { effects | Effects::HOLDS } else { effects }
            }
            // Its words look harmless.
            Weighed::Later(_) => Effects::NONE,
        }
    }

    /// The same of a statement that was prepared.
    pub(super) fn effects_of_statement(&self, statement: &Statement) -> Effects {
        self.effects_of(statement.weighed(), &statement.text)
    }

    /// Whether code that stands in a text with these effects may set what it does not name.
    fn unnamed_in(&self, effects: Effects, text: &[u8]) -> Unnamed {
        let lexing = self.lexing();
        if effects.any_of(Effects::ANYTHING) {
            return unnamed_settings(text, &lexing);
        }
        let given = effects.any_of(Effects::SETS_GIVEN).then(|| self.given_by(text, Unnamed::Maybe));
        let run = effects.any_of(Effects::RUNS).then(|| unnamed_settings(text, &lexing));
        given.max(run).unwrap_or_default()
    }

    /// What a function may set that sets what its caller says, given a text that calls it.
    fn given_by(&self, text: &[u8], unnamed: Unnamed) -> Unnamed {
        match unnamed {
            Unnamed::Maybe if begins_a_name(text, &self.lexing()) => Unnamed::Likely,
            unnamed => unnamed,
        }
    }

    /// Notes how settings may have been made whose names nobody knows.
    pub(super) fn note_unnamed(&mut self, unnamed: Unnamed) {
        match unnamed {
            Unnamed::No => {}
            Unnamed::Maybe => self.state.note_unnamed(),
            Unnamed::Likely => self.state.keep(Keeps::SETTINGS),
        }
    }

    /// What a shared backend listens to is not left on one's own; what is made may be temporary without saying so.
    pub(super) fn effects_of_pattern(&self, pattern: &Pattern) -> Effects {
        let mut effects = pattern.traits.effects;
        if self.is_shared(pattern) {
            effects = effects.without(Effects::LISTENS);
        }
        if effects.any_of(Effects::DEFINES) && self.is_path_temporary() {
            effects |= Effects::TEMPORARY;
        }
        if pattern.traits.functions.iter().any(|name| self.rules.functions.is_stateful(name.as_bytes())) {
            effects |= Effects::STATEFUL;
        }
        effects
    }

    /// Whether the session has its temporary schema in its search path, as far as that is known.
    fn is_path_temporary(&self) -> bool {
        let path = self.profile.get(SEARCH_PATH);
        path.is_some_and(|path| memchr::memmem::find(path, b"pg_temp").is_some())
    }

    /// The pattern of a text that must be known now.
    pub(super) fn learn(&self, text: &[u8]) -> Arc<Pattern> {
        self.rules.patterns.learn(text, &self.lexing())
    }

    /// Notes a text that is being sent.
    pub(super) fn note(&mut self, weighed: &Weighed, text: &[u8], now: Instant) {
        match weighed {
            Weighed::Anything => {
                self.note_effects(Effects::ANYTHING, text);
                // The end of the text was not here.
                self.state.note_unnamed();
                self.note_outdated(Outdated::everything());
            }
            Weighed::Known(pattern) => self.note_pattern(pattern, text, now),
            Weighed::Later(digest) => self.note_unsure(*digest, text),
        }
    }

    /// Notes a text whose words do nothing to the session: what they name, it may be over before it is parsed.
    fn note_unsure(&mut self, digest: Digest, text: &[u8]) {
        let unsure = &mut self.turn.get_or_insert_default().unsure;
        if unsure.iter().any(|(known, _)| *known == digest) {
            return;
        }
        if unsure.len() >= MOST_UNSURE {
            self.state.note_unnamed();
            return self.state.note(Effects::ANYTHING);
        }
        let lexing = self.lexing();
        let callees = if is_bare(text, &lexing) { Vec::new() } else { Code::read(text, &lexing).callees };
        self.turn.get_or_insert_default().unsure.push((digest, callees));
    }

    /// Finds out about texts that were sent before they were known.
    pub(super) fn settle_unsure(&mut self, now: Instant) {
        let Some(turn) = self.turn.as_mut().filter(|turn| !turn.unsure.is_empty()) else { return };
        for (digest, named) in std::mem::take(&mut turn.unsure) {
            match self.rules.patterns.known_by(digest) {
                Some(pattern) => self.note_pattern(&pattern, b"", now),
                None => {
                    let judgement = self.rules.functions.judge(named.into_iter(), &[], now);
                    self.note_judgement(judgement, Effects::NONE, b"");
                }
            }
            if let Some(turn) = &mut self.turn {
                // What became of it was not looked at.
                turn.has_administered |= !turn.administered.is_empty();
            }
        }
    }

    fn note_pattern(&mut self, pattern: &Arc<Pattern>, text: &[u8], now: Instant) {
        let traits = &pattern.traits;
        if traits.is_plain() && traits.kind == Kind::Read && self.rules.functions.is_harmless(pattern, now) {
            return;
        }
        if traits.kind == Kind::Ddl {
            self.note_administration(pattern);
            if names_drawn(text) {
                // A default, a view or a function that will ask.
                self.rules.sequences.ask();
            }
        }
        self.note_telling(pattern, text);
        if let Some(outdated) = outdated_by(traits) {
            self.note_outdated(outdated);
        }
        let effects = self.effects_of_pattern(pattern);
        if traits.commands.iter().all(is_neutral) {
            if traits.commands.iter().any(is_local) {
                self.state.note_local_neutral();
            }
            return self.state.note_unaltering(effects);
        }
        if traits.commands.iter().any(is_local) {
            self.state.note_local();
        }
        self.note_sequences(effects);
        // A DO block may notify in more ways than its words tell.
        if effects.any_of(Effects::NOTIFIES | Effects::RUNS) {
            self.turn.get_or_insert_default().notified = true;
        }
        // Most who ask compare it with others' in the same statement.
        let tells_pid = effects.any_of(Effects::READS_PID) && traits.reads.is_empty();
        if tells_pid && self.transaction() == Transaction::Idle {
            self.state.keep(Keeps::PROCESS_ID);
        }
        let unnamed = self.unnamed_in(effects, text);
        self.note_unnamed(unnamed);
        // The names as PostgreSQL reads them; the text is searched, too, for those in strings.
        self.state.note_custom(traits.commands.iter().filter_map(own_setting));
        if !self.knows_by_name(traits) {
            self.state.note_unnamed();
            return self.note_effects(Effects::ANYTHING, text);
        }
        let Bodies { callees: in_bodies, redefine, .. } = self.bodies(effects, text);
        if redefine {
            self.note_outdated(Outdated::everything());
        }
        if in_bodies.is_empty() && callees(pattern).next().is_none() {
            return self.note_effects(effects, text);
        }
        let judgement = if in_bodies.is_empty() && self.rules.functions.is_harmless(pattern, now) {
            Judgement::default()
        } else {
            self.rules.functions.judge(callees(pattern).chain(in_bodies.iter().cloned()), &[], now)
        };
        // Bodies of DO are no part of the pattern.
        if in_bodies.is_empty() && judgement == Judgement::default() {
            self.rules.functions.find_harmless(pattern, now);
        }
        self.note_judgement(judgement, effects, text);
    }

    /// Notes a text with these effects, and what all that it calls may do.
    fn note_judgement(&mut self, judgement: Judgement, mut effects: Effects, text: &[u8]) {
        self.note_called(&judgement);
        let is_unread = !judgement.unknown.is_empty();
        if judgement.may_leave || is_unread {
            self.note_unnamed(self.given_by(text, judgement.unnamed));
            self.state.note_custom(judgement.custom.iter());
        }
        if is_unread {
            if begins_a_name(text, &self.lexing()) {
                self.turn.get_or_insert_default().began_a_name = true;
            }
            self.note_unknown(judgement.unknown);
            self.note_names(effects | Effects::CALLS, text);
        }
        if judgement.may_leave {
            effects |= Effects::CALLS;
        } else if !effects.any_of(Effects::RUNS) {
            effects = effects.without(Effects::CALLS);
        }
        self.note_effects(effects, text);
    }

    /// Notes what the backend is to be asked about before it goes back.
    pub(super) fn note_unknown(&mut self, callees: Vec<Callee>) {
        let unknown = &mut self.turn.get_or_insert_default().unknown;
        extend(unknown, callees);
        if unknown.len() > MOST_UNKNOWN {
            unknown.clear();
            self.state.note(Effects::ANYTHING);
            self.state.note_unnamed();
        }
    }

    /// Notes a text with these effects, and names of settings in it.
    fn note_effects(&mut self, effects: Effects, text: &[u8]) {
        self.state.note(effects);
        self.note_names(effects, text);
    }

    /// Notes names of settings in a text with these effects, however they are spelled.
    fn note_names(&mut self, effects: Effects, text: &[u8]) {
        if names_settings(effects) && !text.is_empty() {
            self.state.note_custom(custom_names(text));
            self.state.note_custom(spelled_names(text, &self.lexing()).iter());
        }
    }

    /// Whether all that runs by name can be asked about; names are known in UTF-8.
    fn knows_by_name(&self, Traits { functions, ambiguous, writes, reads, .. }: &Traits) -> bool {
        let mut names = functions.iter().chain(ambiguous).chain(writes).chain(reads);
        names.all(|name| name.is_ascii() || is_meant(name, self.profile.is_utf8()))
    }

    /// What the bodies of DO do, and other code in strings, in a text with these effects.
    pub(super) fn bodies(&self, effects: Effects, text: &[u8]) -> Bodies {
        let mut bodies = Bodies::default();
        if effects.any_of(Effects::RUNS) {
            let lexing = self.lexing();
            let run = runs_given(text, &lexing).then(|| Code::read(text, &lexing));
            for code in do_bodies(text, &lexing).map(|body| Code::of_body(&body)).chain(run) {
                bodies.callees.extend(code.callees);
                bodies.tells |= code.effects.among(Effects::TELLS);
                bodies.redefine |= code.redefines;
            }
        }
        bodies
    }

    /// Whether statements may be read otherwise just now than the session's settings say, as far as those are known, or
    /// than others read them, who do not see yet what the session has defined.
    pub(super) fn is_read_otherwise(&self) -> bool {
        let calls_unread = |turn: &Turn| turn.unknown.iter().any(|callee| matches!(callee, Callee::Function(_)));
        let reads_otherwise = |turn: &Turn| turn.redefines() || calls_unread(turn);
        self.state.is_altered() || self.turn.as_ref().is_some_and(|turn| reads_otherwise(turn))
    }

    /// Notes that definitions change: at once, for the session itself, and when its transaction ends, for what others
    /// will have read until then.
    fn note_outdated(&mut self, outdated: Outdated) {
        self.forget_definitions(&outdated);
        let turn = self.turn.get_or_insert_default();
        turn.outdated = Some(match turn.outdated.take() {
            Some(before) => before.and(outdated),
            None => outdated,
        });
    }

    /// A ReadyForQuery has come: definitions that were changed are there for all, if no transaction is open.
    pub(super) fn settle_outdated(&mut self) {
        let Some(turn) = self.turn.as_mut().filter(|turn| turn.status == Transaction::Idle) else { return };
        let Some(outdated) = turn.outdated.take() else { return };
        let more_is_sent = turn.is_behind();
        self.forget_definitions(&outdated);
        if more_is_sent && let Some(turn) = &mut self.turn {
            turn.outdated = Some(outdated);
        }
    }

    /// What was found out from definitions may be otherwise now. What is temporary is nobody else's, and what is gone
    /// is missed by PostgreSQL itself in statements that were prepared.
    fn forget_definitions(&self, outdated: &Outdated) {
        self.rules.functions.forget(outdated);
        if outdated.definitions.contains(Definitions::MEANINGS) {
            self.rules.registry.definitions_change();
        }
    }

    /// Notes what functions that are being called do beside what they may leave behind.
    pub(super) fn note_called(&mut self, judgement: &Judgement) {
        if judgement.draws {
            self.note_sequences(Effects::DRAWS);
        }
        if judgement.stateful {
            self.state.keep_for_good(Keeps::UNREADABLE);
        }
        if judgement.redefines {
            self.note_outdated(Outdated::everything());
        }
        // What is not known yet may; it is asked about only this once.
        if judgement.notifies || !judgement.unknown.is_empty() {
            self.turn.get_or_insert_default().notified = true;
        }
    }

    /// How the session's texts are read.
    pub(super) fn lexing(&self) -> Lexing {
        Lexing {
            conforming: self.profile.get(b"standard_conforming_strings") != Some(b"off"),
            encoding: self.profile.get(CLIENT_ENCODING).map(Encoding::named).unwrap_or_default(),
        }
    }
}

/// Whether a text that does nothing to the session has nothing in it for code of a user's to be at work on. Others are
/// asked about after the client has been answered, and a backend that is lost meanwhile is lost to the client.
fn is_bare(text: &[u8], lexing: &Lexing) -> bool {
    let begins = [&b"select"[..], b"show", b"begin", b"start", b"commit", b"end", b"rollback"];
    let plain = [TokenKind::Word, TokenKind::Number, TokenKind::Comma, TokenKind::Semicolon];
    begins.iter().any(|word| first_word(text).eq_ignore_ascii_case(word))
        && Lexer::new(text, *lexing)
            .all(|token| plain.contains(&token.kind) && !token.of(text).eq_ignore_ascii_case(b"from"))
}

/// What the bodies of DO in a text do.
#[derive(Default)]
pub(super) struct Bodies {
    pub(super) callees: Vec<Callee>,
    redefine: bool,
    /// Of [`Effects::TELLS`].
    pub(super) tells: Effects,
}

/// What runs by name when the statements of a pattern do.
pub(super) fn callees(pattern: &Pattern) -> impl Iterator<Item = Callee> {
    let Traits { functions, ambiguous, writes, reads, computes, effects, .. } = &pattern.traits;
    let called = functions.iter().map(|name| Callee::function(name.as_bytes()));
    let written = writes.iter().map(|table| Callee::triggers(table.as_bytes()));
    // What is written is read, too, and has policies.
    let read = reads.iter().chain(writes).filter(|name| !is_catalog(name)).map(|name| Callee::reads(name.as_bytes()));
    let ambiguous = ambiguous.iter().map(|name| Callee::ambiguous(name.as_bytes()));
    // Rows have types, and so have arguments.
    let computes =
        *computes || [functions, &pattern.traits.ambiguous, reads, writes].iter().any(|names| !names.is_empty());
    let operators = computes.then_some(Callee::Operators);
    called.chain(ambiguous).chain(written).chain(read).chain(operators).chain(without_a_name(*effects))
}

/// What a text makes old that defines something.
fn outdated_by(traits: &Traits) -> Option<Outdated> {
    let definitions = traits.outdates;
    let named = traits.writes.iter().filter(|_| definitions.contains(Definitions::NAMED));
    let named = named.flat_map(|name| [Callee::reads(name.as_bytes()), Callee::triggers(name.as_bytes())]).collect();
    (!definitions.is_empty()).then_some(Outdated { definitions, named })
}

/// Whether PostgreSQL's own tables and views are meant, which call nothing of a user's. Without a schema a view of a user
/// may bear such a name, too.
fn is_catalog(relation: &str) -> bool {
    ["pg_catalog.", "information_schema."].iter().any(|own| relation.starts_with(own))
}

/// The setting with a name of a user's own that a statement sets.
fn own_setting(command: &Command) -> Option<&[u8]> {
    match command {
        Command::Set { name, local: false } | Command::Unset { name, local: false } if name.contains('.') => {
            Some(name.as_bytes())
        }
        _ => None,
    }
}

/// Whether it sets or resets only what statements are neither read nor planned by.
fn is_neutral(command: &Command) -> bool {
    match command {
        Command::Set { name, .. } | Command::Unset { name, .. } | Command::Reset(Some(name)) => {
            is_plan_neutral(name.as_bytes())
        }
        _ => false,
    }
}

/// Whether it sets something for the transaction alone.
fn is_local(command: &Command) -> bool {
    matches!(
        command,
        Command::Set { local: true, .. }
            | Command::Unset { local: true, .. }
            | Command::SetRole { local: true }
            | Command::SetSessionAuthorization { local: true }
    )
}

/// Whether a text names a function that tells what was drawn from a sequence, strings and comments included.
fn names_drawn(text: &[u8]) -> bool {
    text.windows(7).any(|word| word.eq_ignore_ascii_case(b"currval") || word.eq_ignore_ascii_case(b"lastval"))
}
