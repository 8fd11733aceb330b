//! The types of a statement's parameters, as PostgreSQL has given them where the client left them open.
//!
//! They follow from the tables, functions and operators that the statement names, once: when these change, PostgreSQL
//! reads the statement anew and keeps the types (manual: "PREPARE").

use std::sync::Arc;

/// Count and OIDs, as in ParameterDescription and in Parse.
pub type Types = Arc<[u8]>;

/// Whether a text has parameters whose types are not all declared.
pub(super) fn leaves_open(text: &[u8], declared: &[u8]) -> bool {
    let Some((count, oids)) = declared.split_first_chunk::<2>() else { return true };
    let (oids, _) = oids.as_chunks::<4>();
    oids.contains(&[0; 4]) || parameters(text).any(|number| number > u16::from_be_bytes(*count))
}

/// What may be numbers of parameters.
fn parameters(text: &[u8]) -> impl Iterator<Item = u16> + '_ {
    memchr::memchr_iter(b'$', text).filter_map(|at| {
        let digits = text.get(at + 1..)?;
        let digits = &digits[..digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len())];
        std::str::from_utf8(digits)
            .ok()
            .filter(|digits| !digits.is_empty())
            .map(|digits| digits.parse().unwrap_or(u16::MAX))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &[u8] = b"\0\x01\0\0\0\x17";

    #[test]
    fn types_are_open_unless_each_parameter_has_one() {
        for (text, declared, open) in [
            (&b"select 1"[..], &b"\0\0"[..], false),
            (b"select $1", b"\0\0", true),
            (b"select $1", ONE, false),
            (b"select $1, $2", ONE, true),
            (b"select $1", b"\0\x01\0\0\0\0", true),
            (b"select $$a$$, '$'", b"\0\0", false),
            (b"select $99999999999", ONE, true),
        ] {
            assert_eq!(leaves_open(text, declared), open, "{}", String::from_utf8_lossy(text));
        }
    }
}
