//! Protocol-level prepared statements, remapped: clients' names on one side, statements that backends hold under
//! pgweir's names on the other.
//!
//! [`Registry`] knows every distinct [`Statement`] once, for all clients. [`Names`] is what one client calls them,
//! [`Held`] what one backend has, and has said of it ([`Description`]), [`Compiled`] what all of a pool may have besides; `era` tells when that is too old for who prepares
//! now. When something is parsed, bound or closed is decided in `session`.

mod compiled;
mod era;
mod held;
mod names;
mod registry;
mod shape;
mod statement;
mod types;

pub use compiled::Compiled;
pub use era::{OUT_OF_DATE, predates, since_its_era};
pub use held::Held;
pub use names::{Allowance, Exceeded, Named, Names};
pub use registry::Registry;
pub use shape::{Description, Shape};
pub use statement::{Kind, Origin, Standing, Statement};
pub use types::Types;

/// A name that no statement ever has on a backend: describing it fails there, which is how an error of ours fails
/// the backend's transaction too.
pub const NEVER: &[u8] = b"pgweir: no such statement";

/// Texts longer than this are not searched by [`may_forget`].
const SEARCHED: usize = 1024;

/// Digits of the least process id that pgweir gives.
const DIGITS: usize = 7;

/// Whether a text may drop statements, or reset what a session has set, behind the protocol's back: DEALLOCATE and
/// DISCARD stand in it, or it is too long to search.
#[must_use]
pub fn may_forget(text: &[u8]) -> bool {
    let stands_at =
        |at: usize, word: &[u8]| text.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
    text.len() > SEARCHED
        || memchr::memchr2_iter(b'd', b'D', text).any(|at| stands_at(at, b"deallocate") || stands_at(at, b"discard"))
}

/// Whether a text may hold a COPY from the client: COPY and its STDIN, or STDOUT, stand in it.
#[must_use]
pub fn may_copy(text: &[u8]) -> bool {
    let stands_before = |at: usize, letters: &[u8]| {
        at.checked_sub(letters.len())
            .and_then(|from| text.get(from..at))
            .is_some_and(|found| found.eq_ignore_ascii_case(letters))
    };
    // By the rarest letter of each.
    memchr::memchr2_iter(b'y', b'Y', text).any(|at| stands_before(at, b"cop"))
        && memchr::memchr2_iter(b'd', b'D', text).any(|at| stands_before(at, b"st"))
}

/// Whether a text may have a constant that is what the clock says when it is parsed: a string that begins with
/// `now`, `today`, `tomorrow` or `yesterday` (manual: "Date/Time Types", Special Values), in an array or a range also.
#[must_use]
pub fn may_freeze(text: &[u8]) -> bool {
    let words: [&[u8]; 4] = [b"now", b"today", b"tomorrow", b"yesterday"];
    let opens = |byte: &u8| byte.is_ascii_whitespace() || b"[({\"".contains(byte);
    let freezes = |quote: usize| {
        let string = text.get(quote + 1..).unwrap_or_default();
        let begin = string.iter().position(|byte| !opens(byte)).unwrap_or(string.len());
        let stands =
            |word: &&[u8]| string.get(begin..begin + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
        words.iter().any(stands)
    };
    memchr::memchr2_iter(b'\'', b'$', text).any(freezes)
}

/// Whether a number stands in a text that is long enough for a process id of pgweir's: seven digits.
#[must_use]
pub fn may_mention(text: &[u8]) -> bool {
    // Any seven in a row cover the end of a chunk.
    let ends = (DIGITS - 1..text.len()).step_by(DIGITS);
    let is_digit = |at: &usize| text.get(*at).is_some_and(u8::is_ascii_digit);
    ends.filter(is_digit).any(|end| {
        let after = (end + 1..).take_while(is_digit).count();
        let before = (0..end).rev().take_while(is_digit).count();
        before + 1 + after >= DIGITS
    })
}

/// The name under which backends hold the shared statement with this id.
#[must_use]
pub fn backend_name(id: u64) -> Box<[u8]> {
    format!("__pgweir_{id}").into_bytes().into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_that_forget_are_found_wherever_they_stand() {
        assert!(may_forget(b"DISCARD ALL"));
        assert!(may_forget(b"select 'd'; /* x */ Deallocate all"));
        assert!(!may_forget(b"select d, dead from deal where disc = 1"));
        assert!(may_forget(&[b' '; SEARCHED + 1]));
    }

    #[test]
    fn a_constant_of_the_clock_is_found_and_its_functions_are_none() {
        for text in [
            "select 'now'::timestamptz",
            "where d >= ' Tomorrow'",
            "where d <@ '[now,)'",
            "insert into t values ($$today$$, $1)",
        ] {
            assert!(may_freeze(text.as_bytes()), "{text}");
        }
        for text in ["select now(), $1", "where note = 'it is now'", "where today = $1 and 'x' <> tomorrow"] {
            assert!(!may_freeze(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_process_id_is_found_wherever_it_stands() {
        for before in 0..20 {
            let text = format!("{}4194305{}", "x".repeat(before), "y".repeat(before % 9));
            assert!(may_mention(text.as_bytes()), "{text}");
        }
        assert!(!may_mention(b"select 419430, 123456 from t where n = 999999"));
        assert!(!may_mention(b"1234567890 ".get(..6).unwrap()));
    }

    #[test]
    fn a_copy_from_the_client_is_found_wherever_it_stands() {
        assert!(may_copy(b"copy t from stdin"));
        assert!(may_copy(b";/* ; */ Copy t from STDout"));
        assert!(!may_copy(b"copy t from 'file'"));
        assert!(!may_copy(b"py std copstd"));
        assert!(!may_copy(b"y d"));
    }
}
