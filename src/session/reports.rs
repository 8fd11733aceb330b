//! What a backend's errors say of statements, and how they read for the client.

use crate::wire::build;
use crate::wire::sqlstate;
use crate::wire::tag::backend;
use crate::wire::view::{Report, split_cstr};

/// PostgreSQL's words for a statement whose result has other columns than when it was parsed; they may be
/// translated, the routine that raises the error is not, and drivers look for it.
const STALE: &[u8] = b"cached plan must not change result type";
const STALE_ROUTINE: &[u8] = b"RevalidateCachedQuery";

/// Whether an error means that a statement's result has other columns than when it was parsed.
pub(super) fn is_stale(report: &Report<'_>, body: &[u8]) -> bool {
    report.code == sqlstate::FEATURE_NOT_SUPPORTED.as_bytes()
        && (report.message == STALE || fields(body).any(|field| field == (b'R', STALE_ROUTINE)))
}

/// That error, as PostgreSQL raises it.
pub(super) fn stale() -> Box<[u8]> {
    let code = sqlstate::FEATURE_NOT_SUPPORTED.as_bytes();
    let said: [(u8, &[u8]); 5] =
        [(b'S', b"ERROR"), (b'V', b"ERROR"), (b'C', code), (b'M', STALE), (b'R', STALE_ROUTINE)];
    write_report(backend::ERROR_RESPONSE, said.into_iter())
}

/// The error with its message quoting a statement by the name `theirs` where it quotes it by `ours`; `None` where
/// it does not.
pub(super) fn renamed(body: &[u8], ours: &[u8], theirs: &[u8]) -> Option<Box<[u8]>> {
    let message = Report::read(body).message;
    let mut places = memchr::memmem::find_iter(message, ours).filter(|at| {
        // Another statement's name may begin like this one.
        !message.get(at + ours.len()).is_some_and(u8::is_ascii_digit)
    });
    let at = places.next()?;
    let (before, after) = (message.get(..at)?, message.get(at + ours.len()..)?);
    let message = [before, theirs, after].concat();
    let fields = fields(body).map(|(kind, value)| (kind, if kind == b'M' { &*message } else { value }));
    Some(write_report(backend::ERROR_RESPONSE, fields))
}

/// The error or notice, by its tag, with another position; `None` where it has none, or the same.
pub(super) fn moved(tag: u8, body: &[u8], position: impl FnOnce(usize) -> usize) -> Option<Box<[u8]>> {
    let said =
        fields(body).find(|(kind, _)| *kind == b'P').and_then(|(_, at)| std::str::from_utf8(at).ok()?.parse().ok())?;
    let meant = position(said);
    let meant = (meant != said).then(|| meant.to_string())?;
    let fields = fields(body).map(|(kind, value)| (kind, if kind == b'P' { meant.as_bytes() } else { value }));
    Some(write_report(tag, fields))
}

/// The error's frame as it came; of a long one, what is here of it.
pub(super) fn as_it_came(body: &[u8]) -> Box<[u8]> {
    write_report(backend::ERROR_RESPONSE, fields(body))
}

/// The fields of an error: (type, value).
fn fields(body: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = body;
    std::iter::from_fn(move || {
        let (&kind, after) = rest.split_first().filter(|(kind, _)| **kind != 0)?;
        let (value, next) = split_cstr(after)?;
        rest = next;
        Some((kind, value))
    })
}

fn write_report<'a>(tag: u8, fields: impl Iterator<Item = (u8, &'a [u8])>) -> Box<[u8]> {
    let mut frame = Vec::new();
    build::write_frame(&mut frame, tag, |to| {
        for (kind, value) in fields {
            to.push(kind);
            to.extend_from_slice(value);
            to.push(0);
        }
        to.push(0);
    });
    frame.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_quotes_the_clients_name_and_keeps_all_else() {
        let body = b"SERROR\0C08P01\0M\"__pgweir_1\" has 2\0Dof __pgweir_1\0\0";
        let frame = renamed(body, b"__pgweir_1", b"mine").expect("it is quoted");
        assert_eq!(frame.get(5..), Some(&b"SERROR\0C08P01\0M\"mine\" has 2\0Dof __pgweir_1\0\0"[..]));
        assert_eq!(frame.get(1..5), Some(&u32::try_from(frame.len() - 1).unwrap_or(0).to_be_bytes()[..]));
        assert_eq!(renamed(b"M\"__pgweir_17\"\0\0", b"__pgweir_1", b"mine"), None);
    }

    #[test]
    fn a_stale_statement_is_known_in_every_language() {
        let is_stale = |body: &[u8]| is_stale(&Report::read(body), body);
        assert!(is_stale(b"C0A000\0Mcached plan must not change result type\0\0"));
        assert!(is_stale(b"C0A000\0Manders\0RRevalidateCachedQuery\0\0"));
        assert!(!is_stale(b"C0A000\0Mnot so\0\0"));
        assert!(is_stale(stale().get(5..).unwrap_or_default()));
    }
}
