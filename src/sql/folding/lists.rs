//! Brackets and lists: which elements are like the one before.

use super::{CLOSE, CLOSE_SQUARE, COMMA, Folding, OPEN, OPEN_SQUARE, PLACE, Positions, Writer};
use crate::sql::hash::Lanes;
use crate::sql::landmark::Landmark;
use crate::sql::lexer::{Token, TokenKind};

/// Lists within lists that are folded; those further inside stay as they are.
pub(super) const DEEPEST: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// `IN (…)` and `ARRAY[…]`: elements stand between commas.
    Elements,
    /// `VALUES (…), (…)`: elements are what stands in brackets, commas between them.
    Rows,
    /// Brackets that turned out to hold a query.
    Query,
}

/// A list that has been begun.
#[derive(Debug, Clone, Copy)]
pub(super) struct Frame<M> {
    pub(super) list: List,
    /// Open brackets, this one's included.
    pub(super) depth: u32,
    /// The hash of what stands before the element.
    pub(super) outer: Lanes,
    /// The hash of the element before.
    pub(super) before: Option<Lanes>,
    /// The element before was left out.
    pub(super) said: bool,
    pub(super) start: M,
    /// Marks that were met before the element.
    pub(super) places: u32,
}

impl<W: Writer> Folding<'_, W> {
    /// Closes what the text has left open.
    pub(super) fn end(&mut self) {
        while self.open > 0 {
            self.close_element();
            self.pop();
        }
    }

    pub(super) fn frame(&mut self) -> Option<&mut Frame<W::Mark>> {
        self.frames.get_mut(self.open.checked_sub(1)?)?.as_mut()
    }

    fn pop(&mut self) -> Option<Frame<W::Mark>> {
        self.open = self.open.checked_sub(1)?;
        self.frames.get_mut(self.open)?.take()
    }

    fn push(&mut self, frame: Frame<W::Mark>) {
        if let Some(place) = self.frames.get_mut(self.open) {
            *place = Some(frame);
            self.open += 1;
        }
    }

    /// Begins an element of the innermost list: from here on it is hashed on its own.
    fn open_element(&mut self) {
        let (seed, places, start) = (self.seed, self.places, self.writer.mark());
        let lanes = self.lanes;
        if let Some(frame) = self.frame() {
            (frame.outer, frame.start, frame.places) = (lanes, start, places);
            self.lanes = seed;
        }
    }

    /// Ends an element of the innermost list: it is left out if it is like the one before, and taken in otherwise.
    fn close_element(&mut self) {
        let Some(at) = self.open.checked_sub(1) else { return };
        let Some(Some(frame)) = self.frames.get_mut(at) else { return };
        let element = std::mem::replace(&mut self.lanes, frame.outer);
        if frame.before == Some(element) && frame.places != self.places {
            self.writer.leave_out(frame.start, frame.said);
            frame.said = true;
        } else {
            self.lanes.absorb_lanes(element);
            frame.before = Some(element);
            frame.said = false;
        }
    }

    pub(super) fn comma(&mut self, token: Token) {
        let depth = self.depth;
        if !self.frame().is_some_and(|frame| frame.depth == depth && frame.list == List::Elements) {
            return self.punctuation(token, COMMA, Landmark::Comma);
        }
        self.close_element();
        self.pass_numbers();
        self.open_element();
        self.writer.token(token);
        self.met(Landmark::Comma);
    }

    /// Passes by elements that are plain numbers, where the one before was a mark too: lists of hundreds are common.
    fn pass_numbers(&mut self) {
        let mut mark = self.seed;
        mark.absorb(PLACE);
        let alike = self.frame().is_some_and(|frame| frame.before == Some(mark));
        if !W::DEAF || !alike || self.positions.is_some() {
            return;
        }
        let (bytes, count) = leading_numbers(self.text.get(self.lexer.at..).unwrap_or_default());
        self.lexer.at += bytes;
        self.places = self.places.wrapping_add(count);
    }

    pub(super) fn opening(&mut self, token: Token) {
        let sign = if token.kind == TokenKind::Open { OPEN } else { OPEN_SQUARE };
        let list = self.list_that_begins(token.kind);
        if let Some(positions) = &mut self.positions {
            let groups = matches!(self.last, Landmark::Grouping | Landmark::Open | Landmark::Comma | Landmark::By);
            if positions.depth + positions.inner == self.depth && groups {
                positions.inner += 1;
            }
        } else if self.last == Landmark::On && self.before_last == Landmark::Distinct {
            self.positions = Some(Positions { depth: self.depth, inner: 1 });
        }
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
        if self.depth < 64 {
            self.queries &= !(1 << self.depth);
        }
        let Some(list) = list.filter(|_| self.open < DEEPEST) else {
            return self.punctuation(token, sign, Landmark::Open);
        };
        self.push(Frame {
            list,
            depth: self.depth,
            outer: self.lanes,
            before: None,
            said: false,
            start: self.writer.mark(),
            places: self.places,
        });
        if list == List::Rows {
            self.open_element();
            self.punctuation(token, sign, Landmark::Open);
        } else {
            self.punctuation(token, sign, Landmark::Open);
            self.open_element();
        }
    }

    fn list_that_begins(&mut self, kind: TokenKind) -> Option<List> {
        let (last, depth) = (self.last, self.depth);
        match (kind, last) {
            (TokenKind::Open, Landmark::In) | (TokenKind::OpenSquare, Landmark::Array) => Some(List::Elements),
            (TokenKind::Open, Landmark::Values) => Some(List::Rows),
            // The arrays within an array.
            (TokenKind::OpenSquare, Landmark::Open | Landmark::Comma) => {
                self.frame().filter(|frame| frame.depth == depth).map(|_| List::Elements)
            }
            _ => None,
        }
    }

    pub(super) fn closing(&mut self, token: Token) {
        let sign = if token.kind == TokenKind::Close { CLOSE } else { CLOSE_SQUARE };
        let depth = self.depth;
        let ended = self.frame().filter(|frame| frame.depth == depth).map(|frame| frame.list);
        match ended {
            Some(List::Rows) => {
                self.punctuation(token, sign, Landmark::Operand);
                self.close_element();
            }
            Some(List::Elements | List::Query) => {
                self.close_element();
                self.pop();
                self.punctuation(token, sign, Landmark::Operand);
            }
            None => self.punctuation(token, sign, Landmark::Operand),
        }
        self.depth = self.depth.saturating_sub(1);
        if let Some(positions) = &mut self.positions {
            if self.depth < positions.depth {
                self.positions = None;
            } else if self.depth < positions.depth + positions.inner {
                positions.inner -= 1;
            }
        }
        if ended == Some(List::Rows) {
            self.next_row();
        }
    }

    /// Goes on to the row that follows, or ends the list of rows.
    fn next_row(&mut self) {
        let before = self.lexer.at;
        let comma = self.lexer.next_if(TokenKind::Comma);
        let Some((comma, open)) = comma.and_then(|comma| Some((comma, self.lexer.next_if(TokenKind::Open)?))) else {
            self.lexer.at = before;
            self.pop();
            return;
        };
        self.open_element();
        self.writer.token(comma);
        self.depth += 1;
        self.punctuation(open, OPEN, Landmark::Open);
    }
}

/// The bytes of the plain numbers that a text begins with, each with a comma after it, and how many those are.
fn leading_numbers(text: &[u8]) -> (usize, u32) {
    let (mut rest, mut count) = (text, 0);
    loop {
        let number = after_blanks(rest);
        let mut after = number;
        while let [b'0'..=b'9', further @ ..] = after {
            after = further;
        }
        let digits = number.len() - after.len();
        let [b',', further @ ..] = after_blanks(after) else { break };
        if digits == 0 {
            break;
        }
        (rest, count) = (further, count + 1);
    }
    (text.len() - rest.len(), count)
}

fn after_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\n' | b'\r', rest @ ..] = text {
        text = rest;
    }
    text
}
