//! Protocol-level prepared statements, remapped: clients' names on one side, statements that backends hold under
//! pgweir's names on the other.
//!
//! [`Registry`] knows every distinct statement once, for all clients. [`Names`] is what one client calls them,
//! [`Held`] what one backend has. When something is parsed, bound or closed is decided in `session`.

mod held;
mod names;
mod registry;

pub use held::Held;
pub use names::{Named, Names};
pub use registry::{Kind, Registry, Standing, Statement};

/// A name that no statement ever has on a backend: describing it fails there, which is how an error of ours fails
/// the backend's transaction too.
pub const NEVER: &[u8] = b"pgweir: no such statement";

/// Texts longer than this are not searched by [`may_forget`].
const SEARCHED: usize = 1024;

/// Whether a text may drop statements, or reset what a session has set, behind the protocol's back: DEALLOCATE and
/// DISCARD stand in it, or it is too long to search.
#[must_use]
pub fn may_forget(text: &[u8]) -> bool {
    let stands_at =
        |at: usize, word: &[u8]| text.get(at..at + word.len()).is_some_and(|found| found.eq_ignore_ascii_case(word));
    text.len() > SEARCHED
        || memchr::memchr2_iter(b'd', b'D', text).any(|at| stands_at(at, b"deallocate") || stands_at(at, b"discard"))
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
}
