//! Frames of any kind.

use proptest::prelude::*;

use super::super::Rights;
use super::super::dialogue::Dialogue;
use super::{Made, console};
use crate::wire::build;
use crate::wire::scan::{HEADER, Header};

const NAMES: &[&[u8]] = &[b"", b"a", b"b"];
/// What follows the names of a Bind: formats, values, formats of results.
const RESTS: &[&[u8]] = &[b"\0\0\0\0\0\0", b"\0\0\0\x01\0\0\0\x011\0\0", b"\0\0\0\0\0\x01\0\x01"];

/// A frame that is mostly right.
fn frame() -> impl Strategy<Value = (u8, Vec<u8>)> {
    let texts = prop::sample::select(
        &[
            "SHOW CONFIG",
            "SHOW VERSION",
            "SELECT 1",
            "BEGIN",
            "COMMIT",
            "ROLLBACK",
            "",
            "SHOW X",
            "SHOW POOLS WHERE size = $1",
        ][..],
    );
    let names = prop::sample::select(NAMES);
    let body = |frame: Vec<u8>| frame.get(HEADER..).map(<[u8]>::to_vec).unwrap_or_default();
    prop_oneof![
        (names.clone(), texts.clone()).prop_map(move |(name, text)| {
            let mut frame = Vec::new();
            build::write_parse(&mut frame, name, text.as_bytes(), b"\0\0");
            (b'P', body(frame))
        }),
        (names.clone(), names.clone(), prop::sample::select(RESTS))
            .prop_map(|(portal, name, rest)| (b'B', [portal, b"\0", name, b"\0", rest].concat())),
        (names.clone(), 0..4_u8).prop_map(|(name, rows)| (b'E', [name, &[0, 0, 0, 0, rows]].concat())),
        (prop::sample::select(&[b'S', b'P'][..]), names)
            .prop_map(|(kind, name)| (b'D', [&[kind], name, b"\0"].concat())),
        texts.prop_map(|text| (b'Q', [text.as_bytes(), b"\0"].concat())),
        Just((b'S', Vec::new())),
        Just((b'H', Vec::new())),
        (any::<u8>(), prop::collection::vec(any::<u8>(), 0..20)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whole frames come out, and one ReadyForQuery for each Sync and Query, whatever went in.
    #[test]
    fn any_frames_are_answered_in_whole_frames(frames in prop::collection::vec(frame(), 0..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let _within = runtime.enter();
        let mut dialogue = Dialogue::new(console(Made::default()), Rights::All, "bob", "test");
        let (mut out, mut owed, mut skips) = (Vec::new(), 0, false);
        for (tag, body) in frames {
            let before = out.len();
            if dialogue.frame(tag, &body, &mut out).is_err() {
                break;
            }
            match tag {
                b'S' => (owed, skips) = (owed + 1, false),
                b'Q' | b'F' if !skips => owed += 1,
                b'P' | b'B' | b'D' | b'E' | b'C' if out.get(before) == Some(&b'E') => skips = true,
                _ => {}
            }
        }
        let (mut rest, mut ready) = (out.as_slice(), 0);
        while !rest.is_empty() {
            let header = Header::read(rest, 1 << 30).expect("a frame").expect("whole");
            ready += usize::from(header.tag == b'Z');
            rest = rest.get(header.frame()..).expect("whole");
        }
        prop_assert_eq!(ready, owed);
    }
}
