//! How a backend is asked: what [`super::questions`] has is prepared there once, as planning it takes longer than the
//! answer, and executed by one Query from then on.

use super::functions::Callee;
use super::questions::{ABOUT_CALLEES, Of, PLANNED, Question, TIMEOUT, WITHOUT_TIMEOUT, about_session};
use super::state::Parts;
use super::turn::{Effect, Expect, Kind, Turn, Who};
use crate::prepared::{Held, backend_name};
use crate::settings::write_text;
use crate::wire::build;

/// Statements of clients are numbered upwards from 40 bits of chance, those of ours downwards from here: questions about
/// the session by their parts, then those about what runs.
const OWN_IDS: u64 = u64::MAX;

/// Goes after a question where settings may have been made that it cannot ask for. Who statements run as stays.
const FORGETTING: &[u8] = b"; RESET ALL";

/// Between these stand names of settings that no view lists because nothing has defined them; of one that a library has
/// defined the view says whether the session has set it.
const CUSTOM: &[u8] = b"SELECT 's', custom.name, pg_catalog.current_setting(custom.name, true) FROM (VALUES ";
const UNDEFINED: &[u8] = b") AS custom(name) WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_settings AS defined \
    WHERE pg_catalog.lower(defined.name) OPERATOR(pg_catalog.=) pg_catalog.lower(custom.name))";

/// How questions are put.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// By statements that were prepared.
    Prepared,
    /// In full: what was prepared was not there.
    Plain,
    /// In full, and the answer comes as the digits of bytes in UTF-8: the client's encoding may lack characters of it.
    InHex,
}

/// A question as it is put together.
struct Asking<'a> {
    form: Form,
    turn: &'a mut Turn,
    held: &'a mut Held,
    /// What goes before it: statements to be prepared, or closed.
    before: Vec<u8>,
    text: Vec<u8>,
}

/// What a backend is to be asked.
pub(super) struct Wanted<'a> {
    pub(super) parts: Parts,
    /// Settings with names of a user's own.
    pub(super) custom: &'a [Box<[u8]>],
    pub(super) callees: &'a [Callee],
    pub(super) resets: bool,
    pub(super) in_hex: bool,
}

impl Wanted<'_> {
    /// Writes the question, and expects its answer.
    pub(super) fn ask(&self, turn: &mut Turn, held: &mut Held) -> Vec<u8> {
        let form = match self {
            Self { in_hex: true, .. } => Form::InHex,
            _ if turn.look_failed => Form::Plain,
            _ => Form::Prepared,
        };
        let failed = turn.look_failed;
        let mut asking = Asking { form, turn, held, before: Vec::new(), text: Vec::new() };
        if failed {
            asking.close_all();
            asking.select(TIMEOUT);
            asking.text.extend_from_slice(WITHOUT_TIMEOUT);
        }
        asking.about_session(self.parts, self.custom);
        if !self.callees.is_empty() {
            asking.about_callees(self.callees);
        }
        asking.text.extend_from_slice(if self.resets { FORGETTING } else { b"" });
        asking.finish()
    }
}

impl Asking<'_> {
    fn about_session(&mut self, parts: Parts, custom: &[Box<[u8]>]) {
        if parts.is_empty() {
            return;
        }
        self.run(OWN_IDS - u64::from(parts.bits()), &about_session(parts), None);
        if !parts.contains(Parts::SETTINGS) || custom.is_empty() {
            return;
        }
        let mut select = CUSTOM.to_vec();
        for (place, name) in custom.iter().enumerate() {
            select.extend_from_slice(if place == 0 { b"(" } else { b", (" });
            write_text(&mut select, name);
            select.extend_from_slice(b"::pg_catalog.text)");
        }
        select.extend_from_slice(UNDEFINED);
        self.text.extend_from_slice(b"; ");
        self.select(&select);
    }

    fn about_callees(&mut self, callees: &[Callee]) {
        let mut ids = (0..OWN_IDS - u64::from(u8::MAX)).rev();
        let mut next_id = || ids.next().unwrap_or_default();
        self.run(next_id(), PLANNED, None);
        for Question { select, of } in &ABOUT_CALLEES {
            let id = next_id();
            match of {
                Of::All(callee) if callees.contains(callee) => self.run(id, select, None),
                Of::All(_) => {}
                Of::Names(name) => {
                    let mut names = Vec::new();
                    for name in callees.iter().filter_map(name) {
                        names.extend_from_slice(if names.is_empty() { b"(ARRAY[" } else { b"," });
                        write_text(&mut names, name);
                    }
                    if !names.is_empty() {
                        names.extend_from_slice(b"]::pg_catalog.name[])");
                        self.run(id, select, Some(&names));
                    }
                }
            }
        }
    }

    /// Adds a statement of ours, with names in brackets for `$1` if it has that.
    fn run(&mut self, id: u64, select: &[u8], names: Option<&[u8]>) {
        if !self.text.is_empty() {
            self.text.extend_from_slice(b"; ");
        }
        if self.form != Form::Prepared {
            return match (names, memchr::memmem::find(select, b"($1)")) {
                (Some(names), Some(place)) => {
                    let (before, after) = select.split_at(place);
                    self.select(&[before, names, after.get(4..).unwrap_or_default()].concat());
                }
                _ => self.select(select),
            };
        }
        let name = backend_name(id);
        if self.held.parse_of(id).is_none() {
            build::write_parse(&mut self.before, &name, select, &[0, 0]);
            self.turn.expect(Expect::new(Kind::Parse, Who::Skip), [Effect::Hold(id, 0)]);
        }
        self.held.touch(id);
        self.text.extend_from_slice(b"EXECUTE ");
        self.text.extend_from_slice(&name);
        self.text.extend_from_slice(names.unwrap_or_default());
    }

    /// What was prepared of ours may not be there, whatever is known: closing that is no error.
    fn close_all(&mut self) {
        for id in self.held.ids().filter(|id| *id > OWN_IDS / 2) {
            build::write_close_statement(&mut self.before, &backend_name(id));
            self.turn.expect(Expect::new(Kind::Close, Who::Skip), [Effect::Drop(id)]);
        }
    }

    fn select(&mut self, select: &[u8]) {
        if self.form != Form::InHex {
            return self.text.extend_from_slice(select);
        }
        self.text.extend_from_slice(
            b"SELECT what, pg_catalog.encode(pg_catalog.convert_to(name, 'UTF8'), 'hex'), \
            pg_catalog.encode(pg_catalog.convert_to(value, 'UTF8'), 'hex') FROM (",
        );
        self.text.extend_from_slice(select);
        self.text.extend_from_slice(b") AS answer(what, name, value)");
    }

    /// All that is to be sent.
    fn finish(self) -> Vec<u8> {
        let Self { turn, mut before, text, .. } = self;
        if !before.is_empty() {
            // Of its own, as after an error a Query would be skipped that stood in the same batch.
            before.extend_from_slice(&build::SYNC);
            turn.expect(Expect::new(Kind::Sync, Who::Skip), []);
            turn.end_batch();
        }
        turn.expect(Expect::new(Kind::Query, Who::Skip), [Effect::Unnamed(None)]);
        turn.end_batch();
        build::write_query(&mut before, &text);
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::turn::Pending;

    /// What is said to ask for settings, a function and all operators, with the frames' heads and their lengths.
    fn said(in_hex: bool, turn: &mut Turn, held: &mut Held) -> String {
        let custom = &[b"app.x".as_slice().into()];
        let callees = &[Callee::function(b"f"), Callee::Operators];
        let wanted = Wanted { parts: Parts::SETTINGS, custom, callees, resets: false, in_hex };
        String::from_utf8_lossy(&wanted.ask(turn, held)).into_owned()
    }

    #[test]
    fn what_is_asked_is_prepared_once_for_each_backend() {
        let (mut turn, mut held) = (Turn::default(), Held::new(100));
        let first = said(false, &mut turn, &mut held);
        assert_eq!(
            turn.pending.len(),
            8,
            "the session, how to plan, functions in three ways, operators, what tells of sessions, and the Query itself"
        );
        assert!(first.contains("ANY ($1)") && first.contains("(ARRAY[E'f']::pg_catalog.name[])"));
        assert!(first.contains("current_setting(custom.name, true) FROM (VALUES (E'app.x'::pg_catalog.text)) AS"));
        assert!(!first.contains("pg_locks"), "nobody needs to know");
        for pending in turn.pending.drain(..) {
            if let Effect::Hold(id, parse) = pending.effect {
                held.insert(id, parse);
            }
        }
        let then = said(false, &mut turn, &mut held);
        assert_eq!((turn.pending.len(), then.matches("EXECUTE").count()), (1, 7));
    }

    #[test]
    fn what_is_missed_is_asked_in_full_and_prepared_anew_for_the_next() {
        let (mut turn, mut held) = (Turn::default(), Held::new(100));
        held.insert(OWN_IDS - 1, 0);
        held.insert(1, 0);
        turn.look_failed = true;
        let plain = said(false, &mut turn, &mut held);
        let drops = |pending: &&Pending| matches!(pending.effect, Effect::Drop(id) if id == OWN_IDS - 1);
        assert_eq!((turn.pending.iter().filter(drops).count(), turn.pending.len()), (1, 2), "that of a client stays");
        assert!(!plain.contains("EXECUTE") && plain.contains("(pg_catalog.=) ANY (ARRAY[E'f']::pg_catalog.name[])"));
        turn.look_failed = false;
        let hex = said(true, &mut turn, &mut held);
        assert!(!hex.contains("EXECUTE") && hex.contains("'hex') FROM (SELECT what, proname"));
    }
}
