//! From tokens to what makes a pattern: literals become one mark, lists of like elements one element.
//!
//! [`Folding`] is the one place that knows these rules. It hashes what it sees, which gives the digest, and tells a
//! [`Writer`] the same, which gives the normalised text and the text for the parser; so the three always agree.
//!
//! - A literal, a parameter, NULL, TRUE and FALSE are one mark; so is a number with its sign.
//! - In `IN (…)`, `ARRAY[…]` and the rows of `VALUES` an element that hashes like the one before it, and holds a mark,
//!   is left out.
//! - The position of a column in ORDER BY, GROUP BY and DISTINCT ON is no literal.
//! - The names of savepoints and cursors are marks too, of a kind of their own: drivers make up a new one each time.
//! - Names and keywords are told apart by nothing but their quotes: `"a"` is `a`, but `"user"` is not `user`.

mod lists;
mod naming;

use super::hash::{Lanes, head, head_of, is_folded_word, known, start_of};
use super::keywords;
use super::landmark::Landmark;
use super::lexer::{Lexer, Lexing, Quoting, Token, TokenKind};
use lists::{DEEPEST, Frame, List};
use naming::Naming;

/// What hears of every token that is not left out, in order.
pub(super) trait Writer {
    /// Where the writer stands.
    type Mark: Copy + Default;
    /// It need not hear of elements that are left out.
    const DEAF: bool = false;

    fn mark(&self) -> Self::Mark;
    /// Forgets what was written since: an element of a list that is like the one before. `said` if the one before was
    /// already such a one.
    fn leave_out(&mut self, since: Self::Mark, said: bool);
    /// A token as it stands.
    fn token(&mut self, token: Token);
    /// A literal.
    fn place(&mut self, token: Token, literal: Literal);
    /// A token that means nothing by itself: a semicolon after nothing, UESCAPE.
    fn skip(&mut self, token: Token);
}

/// What stands where a mark is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Literal {
    Text(Quoting),
    /// In a statement that calls set_config: a string that names a role's setting, or might.
    Role,
    Integer,
    Decimal,
    Null,
    /// TRUE or FALSE.
    Boolean,
    Parameter,
    /// The name of a savepoint in the statement that sets it, goes back to it or releases it.
    Savepoint,
    /// The name of a cursor in the statement that declares it, reads from it or closes it.
    Cursor,
}

const PLACE: u64 = 0x01;
const ROLE_PLACE: u64 = 0x02;
const BOUND_PLACE: u64 = 0x03;
const NAME: u64 = 0x04;
const UNICODE_NAME: u64 = 0x05;
const POSITION: u64 = 0x06;
const STRAY: u64 = 0x07;
const NAME_PLACE: u64 = 0x08;

const COMMA: u64 = b',' as u64;
const DOT: u64 = b'.' as u64;
const SEMICOLON: u64 = b';' as u64;
const CAST: u64 = known(b"::");
const OPEN: u64 = b'(' as u64;
const CLOSE: u64 = b')' as u64;
const OPEN_SQUARE: u64 = b'[' as u64;
const CLOSE_SQUARE: u64 = b']' as u64;

/// More columns no query has, so a larger number is no position.
const LAST_POSITION: u32 = 1664;

/// The clause whose numbers are positions of columns.
#[derive(Debug, Clone, Copy)]
struct Positions {
    depth: u32,
    /// Brackets within it whose numbers are positions too: ROLLUP (1, 2).
    inner: u32,
}

/// The state of one pass over a text.
#[derive(Debug)]
pub(super) struct Folding<'a, W: Writer> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    lexing: Lexing,
    writer: W,
    lanes: Lanes,
    seed: Lanes,
    last: Landmark,
    before_last: Landmark,
    depth: u32,
    deepest: u32,
    frames: [Option<Frame<W::Mark>>; DEEPEST],
    open: usize,
    positions: Option<Positions>,
    /// Of the outermost 64 brackets, those that hold a query.
    queries: u64,
    /// The statement calls set_config, whose effect depends on constants.
    sets_config: bool,
    /// The name in this statement that is a mark, and where it begins.
    naming: Option<Naming>,
    places: u32,
}

/// What a pass has found.
#[derive(Debug)]
pub(super) struct Folded<W> {
    pub(super) lanes: Lanes,
    pub(super) writer: W,
    /// Brackets within brackets.
    pub(super) deepest: u32,
    /// A string, a name or a comment was not closed.
    pub(super) unclosed: bool,
}

/// Reads a text once. `key` is of this process; it decides the second lane of the hash.
#[inline]
pub(super) fn fold<W: Writer>(text: &[u8], lexing: Lexing, key: u64, writer: W) -> Folded<W> {
    let seed = Lanes::new(key);
    let folding = Folding {
        text,
        lexer: Lexer::new(text, lexing),
        lexing,
        writer,
        lanes: seed,
        seed,
        last: Landmark::Start,
        before_last: Landmark::Start,
        depth: 0,
        deepest: 0,
        frames: [None; DEEPEST],
        open: 0,
        positions: None,
        queries: 1,
        sets_config: false,
        naming: None,
        places: 0,
    };
    folding.run()
}

impl<W: Writer> Folding<'_, W> {
    fn run(mut self) -> Folded<W> {
        while let Some(token) = self.lexer.advance() {
            match token.kind {
                TokenKind::Word | TokenKind::Name | TokenKind::UnicodeName | TokenKind::Parameter
                    if let Some(naming) = self.naming.take_if(|naming| naming.at == token.start) =>
                {
                    self.place(token, naming.of);
                }
                TokenKind::Word => self.word(token),
                TokenKind::Name => self.name(token),
                TokenKind::UnicodeName => self.unicode_name(token),
                TokenKind::Text(quoting) => self.string(token, quoting),
                TokenKind::Number => self.number(token),
                TokenKind::Parameter => self.place(token, Literal::Parameter),
                TokenKind::Operator => self.operator(token),
                TokenKind::Comma => self.comma(token),
                TokenKind::Semicolon => self.semicolon(token),
                TokenKind::Open | TokenKind::OpenSquare => self.opening(token),
                TokenKind::Close | TokenKind::CloseSquare => self.closing(token),
                TokenKind::Cast => self.punctuation(token, CAST, Landmark::Operator),
                TokenKind::Dot => self.punctuation(token, DOT, Landmark::Dot),
                TokenKind::Stray => self.raw(token, STRAY, Landmark::Operator),
            }
        }
        self.end();
        let Self { lanes, writer, deepest, lexer, .. } = self;
        Folded { lanes, writer, deepest, unclosed: lexer.unclosed() }
    }

    fn met(&mut self, landmark: Landmark) {
        self.before_last = self.last;
        self.last = landmark;
    }

    #[inline]
    fn punctuation(&mut self, token: Token, sign: u64, landmark: Landmark) {
        self.lanes.absorb(sign);
        self.writer.token(token);
        self.met(landmark);
    }

    fn raw(&mut self, token: Token, tag: u64, landmark: Landmark) {
        let bytes = token.of(self.text);
        self.lanes.absorb_raw(tag, bytes);
        self.writer.token(token);
        self.met(landmark);
    }

    #[inline]
    fn word(&mut self, token: Token) {
        let Some(rest) = self.text.get(token.start..) else { return };
        let Some(bytes) = rest.get(..token.end - token.start) else { return };
        let first = head_of(rest, bytes.len());
        if self.last == Landmark::Start {
            self.naming = self.find_name(first, bytes.len());
        }
        let landmark = if self.last == Landmark::Dot { Landmark::Operand } else { Landmark::of(first, bytes.len()) };
        match landmark {
            Landmark::Operand => self.sets_config |= Landmark::is_set_config(first, bytes.len(), bytes),
            Landmark::Null if !self.last.keeps_null() => return self.place(token, Literal::Null),
            Landmark::Boolean if !self.keeps_boolean() => return self.place(token, Literal::Boolean),
            Landmark::Uescape if self.last == Landmark::Operand => return self.skip_uescape(token),
            _ => self.landmark(landmark),
        }
        self.lanes.absorb_word(first, bytes, self.lexing.encoding);
        self.writer.token(token);
        self.met(landmark);
    }

    /// A word by which clauses and lists are known.
    fn landmark(&mut self, landmark: Landmark) {
        match landmark {
            Landmark::By if matches!(self.last, Landmark::Order | Landmark::Group) && self.in_query() => {
                self.positions = Some(Positions { depth: self.depth, inner: 0 });
            }
            Landmark::Query | Landmark::Values if self.last == Landmark::Open => {
                self.mark_query();
                let depth = self.depth;
                if let Some(frame) = self.frame().filter(|frame| frame.depth == depth && frame.list == List::Elements) {
                    frame.list = List::Query;
                }
            }
            Landmark::SetOperation => self.mark_query(),
            Landmark::Limit => self.positions = None,
            _ => {}
        }
        if landmark == Landmark::Query {
            self.positions = None;
        }
    }

    fn in_query(&self) -> bool {
        self.depth < 64 && self.queries & (1 << self.depth) != 0
    }

    fn mark_query(&mut self) {
        if self.depth < 64 {
            self.queries |= 1 << self.depth;
        }
    }

    fn keeps_boolean(&self) -> bool {
        self.sets_config
            || self.last == Landmark::Is
            || (self.last == Landmark::Not && self.before_last == Landmark::Is)
    }

    /// `U&'…' UESCAPE '!'` is one literal.
    fn skip_uescape(&mut self, token: Token) {
        self.writer.skip(token);
        let mut ahead = self.lexer;
        if let Some(token) = ahead.next().filter(|token| matches!(token.kind, TokenKind::Text(_))) {
            self.writer.skip(token);
            self.lexer = ahead;
        }
    }

    /// A quoted name: the same as a word where it needs no quotes.
    fn name(&mut self, token: Token) {
        let Some(rest) = self.text.get(token.start + 1..) else { return };
        let Some(inner) = rest.get(..(token.end - token.start).saturating_sub(2)) else { return };
        let first = start_of(rest, inner.len());
        if needs_no_quotes(first, inner) {
            self.lanes.absorb_word(first, inner, self.lexing.encoding);
            self.sets_config |= Landmark::is_set_config(first, inner.len(), inner);
        } else {
            self.lanes.absorb_raw(NAME, inner);
        }
        self.writer.token(token);
        self.met(Landmark::Operand);
    }

    /// What it spells is not looked at: it may be set_config.
    fn unicode_name(&mut self, mut token: Token) {
        self.sets_config = true;
        let mut ahead = self.lexer;
        let is_escape = |token: &Token| token.of(self.text).eq_ignore_ascii_case(b"uescape");
        // A character in quotes, without which the name would be another one.
        if let (Some(_), Some(escape)) = (ahead.next().filter(is_escape), ahead.next())
            && matches!(escape.kind, TokenKind::Text(_))
            && escape.end - escape.start == 3
        {
            token.end = escape.end;
            self.lexer = ahead;
        }
        self.raw(token, UNICODE_NAME, Landmark::Operand);
    }

    fn string(&mut self, token: Token, quoting: Quoting) {
        let literal = if self.sets_config && may_name_role(token.of(self.text), quoting) {
            Literal::Role
        } else {
            Literal::Text(quoting)
        };
        self.place(token, literal);
    }

    fn place(&mut self, token: Token, literal: Literal) {
        let mark = match literal {
            Literal::Role => ROLE_PLACE,
            Literal::Parameter if self.sets_config => BOUND_PLACE,
            Literal::Savepoint | Literal::Cursor => NAME_PLACE,
            _ => PLACE,
        };
        self.lanes.absorb(mark);
        self.writer.place(token, literal);
        self.places = self.places.wrapping_add(1);
        self.met(Landmark::Operand);
    }

    fn number(&mut self, token: Token) {
        let bytes = token.of(self.text);
        if self.positions.is_some() && self.is_position(bytes) {
            return self.raw(token, POSITION, Landmark::Operand);
        }
        let fraction = bytes.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
        self.place(token, if !fraction { Literal::Integer } else { Literal::Decimal });
    }

    /// Whether a number stands alone between commas in a clause that counts columns.
    fn is_position(&self, number: &[u8]) -> bool {
        let digits = Some(number).filter(|number| number.iter().all(u8::is_ascii_digit));
        let value = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse::<u32>().ok());
        let stands_first = match self.positions {
            Some(Positions { depth, inner }) if depth + inner == self.depth => match self.last {
                Landmark::By | Landmark::Comma => true,
                Landmark::Open => inner > 0,
                _ => false,
            },
            _ => false,
        };
        let ends = |kind| matches!(kind, TokenKind::Comma | TokenKind::Close | TokenKind::Semicolon | TokenKind::Word);
        let mut ahead = self.lexer;
        stands_first
            && value.is_some_and(|value| value <= LAST_POSITION)
            && ahead.next().is_none_or(|next| ends(next.kind))
    }

    fn operator(&mut self, token: Token) {
        let is_sign = matches!(token.of(self.text), b"-" | b"+") && !self.last.ends_operand();
        if is_sign {
            let mut ahead = self.lexer;
            if let Some(number) = ahead.next().filter(|next| next.kind == TokenKind::Number) {
                self.lexer = ahead;
                return self.number(Token { start: token.start, ..number });
            }
        }
        let bytes = token.of(self.text);
        if bytes.len() > 8 {
            return self.raw(token, STRAY, Landmark::Operator);
        }
        self.punctuation(token, head(bytes), Landmark::Operator);
    }

    fn semicolon(&mut self, token: Token) {
        self.sets_config = false;
        if self.depth > 0 {
            return self.punctuation(token, SEMICOLON, Landmark::Start);
        }
        self.positions = None;
        if self.last == Landmark::Start {
            return self.writer.skip(token);
        }
        // At the end of the text it means nothing, nor do those that follow it.
        let mut ahead = self.lexer;
        while let Some(next) = ahead.next() {
            if next.kind != TokenKind::Semicolon {
                return self.punctuation(token, SEMICOLON, Landmark::Start);
            }
            self.lexer = ahead;
        }
    }
}

/// Whether a quoted name is what the same letters without quotes are. `first` is what [`start_of`] gave for it.
#[inline]
fn needs_no_quotes(first: u64, inner: &[u8]) -> bool {
    !matches!(first as u8, 0 | b'0'..=b'9' | b'$')
        && is_folded_word(first, inner)
        && !keywords::is_reserved(first, inner)
}

/// Whether a string is the name of a setting that stands for a role, or is written so that it can't be told.
fn may_name_role(string: &[u8], quoting: Quoting) -> bool {
    let inner = match quoting {
        Quoting::Plain if !string.contains(&b'\\') => string.split(|byte| *byte == b'\'').nth(1).unwrap_or_default(),
        Quoting::Dollar => string.split(|byte| *byte == b'$').nth(2).unwrap_or_default(),
        Quoting::Bits | Quoting::Hex => return false,
        Quoting::Plain | Quoting::Escape | Quoting::Unicode => return true,
    };
    // More than two quotes: pieces on several lines, which may make up the name together.
    let pieces = quoting == Quoting::Plain && string.iter().filter(|byte| **byte == b'\'').count() > 2;
    pieces || inner.eq_ignore_ascii_case(b"role") || inner.eq_ignore_ascii_case(b"session_authorization")
}
