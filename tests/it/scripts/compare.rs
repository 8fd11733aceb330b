//! Two transcripts side by side.

use std::fmt::Write as _;

use super::run::Transcript;
use crate::harness::Frame;

/// Columns of one side of a difference.
const WIDTH: usize = 72;

/// `None` when both are the same, byte for byte; else what a person needs to see.
pub fn difference(direct: &Transcript, proxied: &Transcript) -> Option<String> {
    let nothing = Vec::new();
    let mut report = String::new();
    for (name, wanted) in &direct.connections {
        let got = proxied.connections.get(name).unwrap_or(&nothing);
        if wanted != got {
            let _ = writeln!(report, "  connection {name}:\n{}", side_by_side(wanted, got));
        }
    }
    for name in proxied.connections.keys().filter(|name| !direct.connections.contains_key(*name)) {
        let _ = writeln!(report, "  connection {name}: only pgweir sent something");
    }
    (!report.is_empty()).then_some(report)
}

fn side_by_side(wanted: &[Frame], got: &[Frame]) -> String {
    let same = wanted.iter().zip(got).take_while(|(one, other)| one == other).count();
    let mut text = format!("    {:<WIDTH$} | pgweir\n", "PostgreSQL");
    if same > 6 {
        let _ = writeln!(text, "    … {} frames alike", same - 6);
    }
    let last = (same + 16).min(wanted.len().max(got.len()));
    for at in same.saturating_sub(6)..last {
        let (one, other) = (wanted.get(at), got.get(at));
        let mark = if one == other { ' ' } else { '!' };
        let _ = writeln!(text, "  {mark} {:<WIDTH$} | {}", cut(one), cut(other));
        let alike = |one: &Frame, other: &Frame| one != other && one.summary() == other.summary();
        if let (Some(one), Some(other)) = (one, other)
            && (alike(one, other) || (one.tag() == other.tag() && one.tag() == b'E' && one != other))
        {
            let _ = writeln!(text, "      direct {}\n      pgweir {}", one.detail(), other.detail());
        }
    }
    let left = wanted.len().max(got.len()) - last;
    if left > 0 {
        let _ = writeln!(text, "    … {left} frames more");
    }
    text
}

fn cut(frame: Option<&Frame>) -> String {
    let text = frame.map_or_else(|| "–".to_owned(), Frame::summary);
    match text.char_indices().nth(WIDTH - 1) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{Transcript, difference};
    use crate::harness::Frame;

    fn transcript(frames: &[(u8, &'static [u8])]) -> Transcript {
        let frames = frames.iter().map(|(tag, body)| Frame::Message(*tag, Bytes::from_static(body))).collect();
        Transcript { connections: [("a".to_owned(), frames)].into() }
    }

    #[test]
    fn equal_transcripts_have_no_difference() {
        let one = transcript(&[(b'C', b"SELECT 1\0"), (b'Z', b"I")]);
        assert_eq!(difference(&one, &one), None);
    }

    #[test]
    fn what_differs_is_marked_and_shown_in_full() {
        let direct = transcript(&[(b'1', b""), (b'E', b"SERROR\0C26000\0Mno \"s\"\0\0"), (b'Z', b"I")]);
        let proxied = transcript(&[(b'1', b""), (b'E', b"SERROR\0C26000\0Mno \"s_17\"\0\0"), (b'Z', b"T")]);
        let report = difference(&direct, &proxied).expect("a difference");
        assert!(report.contains("M=no \"s\" ") && report.contains("M=no \"s_17\" "), "{report}");
        assert!(report.contains("! ReadyForQuery(I)") && report.contains("| ReadyForQuery(T)"), "{report}");
        assert!(report.contains("  ParseComplete") && !report.contains("! ParseComplete"), "{report}");
    }
}
