//! Process ids in what a client sends: the ones that pgweir gave at logins are no backend's, and PostgreSQL knows none
//! of them. In calls that take one, and in statements over views that list them, each is replaced by that of the
//! backend its session has at the moment, with as many bytes.

use super::{Session, Verdict, Wait};
use crate::sql::{Effects, Lexer, Pattern, Quoting, TokenKind, Weighed};
use crate::wire::Frame;
use crate::wire::view::{self, query_text};

/// The least that pgweir gives; see `clients`.
const FIRST: i64 = 4_194_305;
/// Views with a column of process ids begin with one of these.
const LISTS: [&[u8]; 2] = [b"pg_locks", b"pg_stat_"];
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

/// What is known of the mentions in the frame that waits.
#[derive(Debug, Default)]
pub(super) enum Mentions {
    Replaced,
    #[default]
    Unasked,
    Wanted(Vec<Mention>),
}

impl Session {
    /// Whether a Query must wait until the processes that it mentions are known.
    pub(super) fn must_name_in_text(&mut self, weighed: &Weighed, frame: &Frame<'_>) -> Option<Verdict> {
        frame.is_whole().then_some(())?;
        let text = query_text(frame.body);
        let lexing = self.lexing();
        let lists = || LISTS.iter().any(|name| text.windows(name.len()).any(|word| word.eq_ignore_ascii_case(name)));
        let may = match weighed {
            Weighed::Anything => false,
            Weighed::Known(pattern) => may_mention(pattern),
            Weighed::Later(_) => lists(),
        };
        self.must_name(may, || {
            let mut mentions = Vec::new();
            for token in Lexer::new(text, lexing) {
                let quoted = usize::from(token.kind == TokenKind::Text(Quoting::Plain));
                let (at, len) = (token.start + quoted, (token.end - token.start).saturating_sub(2 * quoted));
                let digits = text.get(at..at + len).unwrap_or_default();
                if (token.kind == TokenKind::Number || quoted == 1) && is_mention(digits, false) {
                    mentions.push(Mention { at, len, binary: false });
                }
            }
            mentions
        })
    }

    /// The same for the values of a Bind.
    pub(super) fn must_name_in_values(&mut self, weighed: &Weighed, frame: &Frame<'_>) -> Option<Verdict> {
        frame.is_whole().then_some(())?;
        let may = matches!(weighed, Weighed::Known(pattern) if may_mention(pattern));
        self.must_name(may, || {
            let values = view::bound_values(frame.body).unwrap_or_default().into_iter();
            let mentions = values.filter(|value| is_mention(value.bytes, value.binary));
            mentions.map(|value| Mention { at: value.at, len: value.bytes.len(), binary: value.binary }).collect()
        })
    }

    fn must_name(&mut self, may: bool, find: impl FnOnce() -> Vec<Mention>) -> Option<Verdict> {
        may.then_some(())?;
        if matches!(self.turn.as_ref()?.mentions, Mentions::Replaced) {
            self.turn.get_or_insert_default().mentions = Mentions::Unasked;
            return None;
        }
        let mut mentions = find();
        mentions.truncate(MOST);
        if mentions.is_empty() {
            return None;
        }
        self.turn.get_or_insert_default().mentions = Mentions::Wanted(mentions);
        Some(Verdict::Hold(Wait::Processes))
    }

    /// Where the frame that waits mentions processes.
    #[must_use]
    pub fn mentions(&self) -> Vec<Mention> {
        match self.turn.as_ref().map(|turn| &turn.mentions) {
            Some(Mentions::Wanted(mentions)) => mentions.clone(),
            _ => Vec::new(),
        }
    }

    /// Whether a frame whose mentions are replaced waits to be judged again.
    #[must_use]
    pub fn is_about_to_mention(&self) -> bool {
        self.turn.as_ref().is_some_and(|turn| matches!(turn.mentions, Mentions::Replaced))
    }

    /// They are replaced, as far as they are sessions': the frame that waits can be judged again.
    pub fn processes_are_named(&mut self) {
        self.turn.get_or_insert_default().mentions = Mentions::Replaced;
    }
}

/// Whether statements of a pattern have to do with process ids.
fn may_mention(pattern: &Pattern) -> bool {
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
