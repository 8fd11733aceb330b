//! Process ids in what a client sends: the ones that pgweir gave at logins are no backend's, and PostgreSQL knows none
//! of them. In calls that take one, and in statements over views that list them, each is replaced by that of the
//! backend its session has at the moment, with as many bytes. A prepared text keeps the ids that its client wrote: it
//! is parsed anew, with the backends of that moment, whenever it is bound later than in the batch that parsed it.

use std::ops::Range;
use std::sync::Arc;

use super::turn::{self, Expect, Who};
use super::{Leased, Outgoing, Session, Verdict, Wait};
use crate::prepared::{Kind, Named, Origin, Statement};
use crate::sql::{Effects, Lexer, Lexing, Pattern, Quoting, TokenKind, Weighed};
use crate::wire::Frame;
use crate::wire::build::SYNC;
use crate::wire::view::{self, Parse, query_text};

/// The least that pgweir gives; see `clients`.
const FIRST: i64 = 4_194_305;
/// Views with a column of process ids begin with one of these.
const LISTS: [&[u8]; 2] = [b"pg_locks", b"pg_stat_"];
/// Bytes of an array of one dimension before its first element.
const ARRAY_HEAD: usize = 20;
/// The OIDs of int4 and int8.
const INTEGERS: [i32; 2] = [23, 20];
/// Places in one frame that are looked at.
const MOST: usize = 64;

/// Where a frame's body may hold such an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mention {
    /// Its first byte in the body.
    pub at: usize,
    pub len: usize,
    /// A number in network order; otherwise digits.
    pub binary: bool,
}

impl Mention {
    /// The process id in these bytes of the body.
    #[must_use]
    pub fn process(&self, bytes: &[u8]) -> Option<i32> {
        number(bytes, self.binary).and_then(|number| i32::try_from(number).ok())
    }
}

/// What is known of the mentions in the frame that waits, or in the prepared text that it uses.
#[derive(Debug, Default)]
pub(super) enum Mentions {
    /// Those in the frame are.
    Replaced {
        /// The text of a Parse as the client sent it.
        text: Option<Box<[u8]>>,
    },
    #[default]
    Unasked,
    Wanted {
        mentions: Vec<Mention>,
        text: Option<Box<[u8]>>,
    },
    /// A prepared text mentions processes.
    Prepared {
        given: Vec<i32>,
        /// Those that are sessions', with their backends'.
        found: Vec<(i32, i32)>,
        asked: bool,
    },
}

impl Session {
    /// What makes the leased backend, which does nothing, answer: PostgreSQL acts on the signals that have reached a
    /// process before it reads on.
    pub fn asks_for_a_sign(&mut self) -> &'static [u8] {
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(turn::Kind::Sync, Who::Skip), []);
        turn.end_batch();
        &SYNC
    }

    /// Whether a Query must wait until the processes that it mentions are known.
    pub(super) fn must_name_in_text(&mut self, weighed: &Weighed, frame: &Frame<'_>) -> Option<Verdict> {
        frame.is_whole().then_some(())?;
        let text = query_text(frame.body);
        let (may, lexing) = (may_be_about_processes(weighed, text), self.lexing());
        self.must_name(may, || mentions_in(text, lexing))
    }

    /// What a Parse makes, where its text mentions processes: a statement of the client's own that keeps the text as
    /// the client sent it. `Err` while they must be found.
    pub(super) fn mentioning(
        &mut self,
        parse: &Parse<'_>,
        statement: Arc<Statement>,
    ) -> Result<Arc<Statement>, Verdict> {
        if !statement.mentions || !may_be_about_processes(statement.weighed(), parse.text) {
            return Ok(statement);
        }
        let lexing = self.lexing();
        let turn = self.turn.get_or_insert_default();
        if let Mentions::Replaced { text: Some(text) } = std::mem::take(&mut turn.head.mentions) {
            let (registry, weighed) = (&self.rules.registry, statement.weighed().clone());
            return Ok(match parse.name {
                b"" => registry.private(&text, parse.types, weighed),
                _ => {
                    let read_by = statement.read_by.clone();
                    registry.unshared(&text, parse.types, Origin { weighed, read_by })
                }
            });
        }
        let mut mentions = mentions_in(parse.text, lexing);
        if mentions.is_empty() {
            return Ok(statement);
        }
        // The name and its zero go before the text.
        mentions.iter_mut().for_each(|mention| mention.at += parse.name.len() + 1);
        turn.head.mentions = Mentions::Wanted { mentions, text: Some(parse.text.into()) };
        Err(Verdict::Hold(Wait::Processes))
    }

    /// Has a statement that mentions processes parsed anew for the backends of now, unless this batch does that
    /// already. `Err` while they must be found.
    pub(super) fn mention_anew(
        &mut self,
        named: &Named,
        leased: &mut Leased<'_>,
        out: &mut Outgoing,
    ) -> Result<(), Verdict> {
        let statement = &named.statement;
        if self.turn.as_ref().is_some_and(|turn| turn.parses(statement.id)) {
            return Ok(());
        }
        if let Some(text) = self.text_for_now(statement)? {
            if statement.kind == Kind::Shared {
                self.inject_close(statement.id, out);
            }
            self.inject_parse(named, &text, leased, out);
        }
        Ok(())
    }

    /// The text of a prepared statement with the backends that the processes in it have now; `None` where it mentions
    /// none. `Err` while they must be found.
    fn text_for_now(&mut self, statement: &Statement) -> Result<Option<Vec<u8>>, Verdict> {
        if !statement.mentions || !may_be_about_processes(statement.weighed(), &statement.text) {
            return Ok(None);
        }
        let mentions = mentions_in(&statement.text, self.lexing());
        if mentions.is_empty() {
            return Ok(None);
        }
        let process = |mention: &Mention| mention.process(statement.text.get(mention.at..mention.at + mention.len)?);
        let turn = self.turn.get_or_insert_default();
        let found = match &mut turn.head.mentions {
            Mentions::Prepared { asked: true, found, .. } => std::mem::take(found),
            _ => {
                let given = mentions.iter().filter_map(process).collect();
                turn.head.mentions = Mentions::Prepared { given, found: Vec::new(), asked: false };
                return Err(Verdict::Hold(Wait::Processes));
            }
        };
        turn.head.mentions = Mentions::Unasked;
        let mut text = statement.text.to_vec();
        for mention in &mentions {
            let Some((_, backend)) = found.iter().find(|(given, _)| process(mention) == Some(*given)) else { continue };
            if let Some(place) = text.get_mut(mention.at..mention.at + mention.len) {
                write_process(place, *backend, false);
            }
        }
        Ok(Some(text))
    }

    /// The same for the values of a Bind of this statement.
    pub(super) fn must_name_in_values(&mut self, statement: &Statement, frame: &Frame<'_>) -> Option<Verdict> {
        frame.is_whole().then_some(())?;
        let may = may_be_about_processes(statement.weighed(), &statement.text);
        self.must_name(may, || {
            let values = view::bound_values(frame.body).unwrap_or_default().into_iter();
            values.flat_map(|value| mentions_of(value.bytes, value.at, value.binary)).take(MOST).collect()
        })
    }

    fn must_name(&mut self, may: bool, find: impl FnOnce() -> Vec<Mention>) -> Option<Verdict> {
        may.then_some(())?;
        if matches!(self.turn.as_ref()?.head.mentions, Mentions::Replaced { .. }) {
            self.turn.get_or_insert_default().head.mentions = Mentions::Unasked;
            return None;
        }
        let mentions = find();
        if mentions.is_empty() {
            return None;
        }
        self.turn.get_or_insert_default().head.mentions = Mentions::Wanted { mentions, text: None };
        Some(Verdict::Hold(Wait::Processes))
    }

    /// Where the frame that waits mentions processes.
    #[must_use]
    pub fn mentions(&self) -> Vec<Mention> {
        match self.turn.as_ref().map(|turn| &turn.head.mentions) {
            Some(Mentions::Wanted { mentions, .. }) => mentions.clone(),
            _ => Vec::new(),
        }
    }

    /// The processes that the prepared text mentions which the frame that waits uses.
    #[must_use]
    pub fn mentioned(&self) -> Vec<i32> {
        match self.turn.as_ref().map(|turn| &turn.head.mentions) {
            Some(Mentions::Prepared { given, .. }) => given.clone(),
            _ => Vec::new(),
        }
    }

    /// One of these is a session's, whose backend is this process.
    pub fn process_is(&mut self, given: i32, backend: i32) {
        if let Some(Mentions::Prepared { found, .. }) = self.turn.as_mut().map(|turn| &mut turn.head.mentions) {
            found.push((given, backend));
        }
    }

    /// Whether statements that mention others are answered, and none waits to be judged again with its mentions replaced.
    #[must_use]
    pub fn is_done_with_mentioned(&self) -> bool {
        let about = |mentions: &Mentions| matches!(mentions, Mentions::Replaced { .. } | Mentions::Prepared { .. });
        self.is_answered() && !self.turn.as_ref().is_some_and(|turn| about(&turn.head.mentions))
    }

    /// They are replaced, or known, as far as they are sessions': the frame that waits can be judged again.
    pub fn processes_are_named(&mut self) {
        let mentions = &mut self.turn.get_or_insert_default().head.mentions;
        match mentions {
            Mentions::Prepared { asked, .. } => *asked = true,
            Mentions::Wanted { text, .. } => *mentions = Mentions::Replaced { text: text.take() },
            Mentions::Replaced { .. } | Mentions::Unasked => *mentions = Mentions::Replaced { text: None },
        }
    }
}

/// Whether a text has to do with process ids.
fn may_be_about_processes(weighed: &Weighed, text: &[u8]) -> bool {
    match weighed {
        Weighed::Anything => false,
        Weighed::Known(pattern) => may_mention(pattern),
        Weighed::Later(_) => {
            LISTS.iter().any(|name| text.windows(name.len()).any(|word| word.eq_ignore_ascii_case(name)))
        }
    }
}

/// Where a text mentions processes, as numbers or as strings.
fn mentions_in(text: &[u8], lexing: Lexing) -> Vec<Mention> {
    let mentions = |token: crate::sql::Token| {
        let quoted = usize::from(token.kind == TokenKind::Text(Quoting::Plain));
        let at = token.start + quoted;
        let digits = text.get(at..token.end - quoted).filter(|_| token.kind == TokenKind::Number || quoted == 1);
        mentions_of(digits.unwrap_or_default(), at, false)
    };
    Lexer::new(text, lexing).flat_map(mentions).take(MOST).collect()
}

/// Where a value that stands `at` this place mentions processes: it is a number, or an array of some.
fn mentions_of(value: &[u8], at: usize, binary: bool) -> Vec<Mention> {
    let parts = match value {
        [b'{', .., b'}'] if !binary => numbers_of_text(value),
        _ if binary && value.len() > ARRAY_HEAD => numbers_of_array(value).unwrap_or_default(),
        _ => std::iter::once(0..value.len()).collect(),
    };
    let is = |part: &Range<usize>| value.get(part.clone()).is_some_and(|number| is_mention(number, binary));
    parts.into_iter().filter(is).map(|part| Mention { at: at + part.start, len: part.len(), binary }).collect()
}

/// The runs of digits in an array as text.
fn numbers_of_text(array: &[u8]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (place, _) in array.iter().enumerate().filter(|(_, byte)| byte.is_ascii_digit()) {
        match found.last_mut() {
            Some(run) if run.end == place => run.end += 1,
            _ => found.push(place..place + 1),
        }
    }
    found
}

/// The elements of an array of one dimension in binary: dimensions, flags and type, then length and lower bound, and
/// each element behind its own length, -1 for NULL.
fn numbers_of_array(array: &[u8]) -> Option<Vec<Range<usize>>> {
    let number = |at: usize| array.get(at..at + 4)?.first_chunk().map(|bytes| i32::from_be_bytes(*bytes));
    if number(0)? != 1 || !INTEGERS.contains(&number(8)?) {
        return None;
    }
    let (mut found, mut at) = (Vec::new(), ARRAY_HEAD);
    while let Some(len) = number(at) {
        let len = usize::try_from(len).unwrap_or(0);
        found.push(at + 4..at + 4 + len);
        at += 4 + len;
    }
    Some(found)
}

/// Writes a process id with as many bytes as there are.
pub fn write_process(bytes: &mut [u8], process: i32, binary: bool) {
    if binary {
        let number = i64::from(process).to_be_bytes();
        let from = number.len().saturating_sub(bytes.len());
        bytes.copy_from_slice(number.get(from..).unwrap_or_default());
        return;
    }
    let digits = format!("{process:0width$}", width = bytes.len());
    if digits.len() == bytes.len() {
        bytes.copy_from_slice(digits.as_bytes());
    }
}

/// Whether statements of a pattern have to do with process ids.
pub(super) fn may_mention(pattern: &Pattern) -> bool {
    let lists = |name: &str| {
        let view = name.strip_prefix("pg_catalog.").unwrap_or(name);
        LISTS.iter().any(|list| view.as_bytes().starts_with(list))
    };
    let traits = &pattern.traits;
    traits.effects.any_of(Effects::SIGNALS | Effects::READS_PID) || traits.reads.iter().any(|name| lists(name))
}

fn is_mention(bytes: &[u8], binary: bool) -> bool {
    number(bytes, binary).is_some_and(|number| (FIRST..=i64::from(i32::MAX)).contains(&number))
}

/// The number that stands in a text or a value.
fn number(bytes: &[u8], binary: bool) -> Option<i64> {
    if !binary {
        let digits = std::str::from_utf8(bytes).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        return digits.parse().ok();
    }
    let four = || <[u8; 4]>::try_from(bytes).map(|bytes| i64::from(i32::from_be_bytes(bytes)));
    four().or_else(|_| <[u8; 8]>::try_from(bytes).map(i64::from_be_bytes)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_written_with_as_many_bytes_as_there_were() {
        let mut digits = *b"4194310";
        write_process(&mut digits, 731, false);
        assert_eq!(&digits, b"0000731");
        for bytes in [&mut [0xff_u8; 4][..], &mut [0xff_u8; 8][..]] {
            write_process(bytes, 731, true);
            let mention = Mention { at: 0, len: bytes.len(), binary: true };
            assert_eq!(mention.process(bytes), Some(731));
        }
    }
}
