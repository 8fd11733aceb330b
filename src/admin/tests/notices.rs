//! What is said besides an answer.

use super::super::Rights;
use super::super::dialogue::Dialogue;
use super::{Made, console_with};
use crate::wire::build;

/// The answer to SHOW as text, in the simple protocol or the extended one.
fn answer(configuration: &str, report: &str, extended: bool) -> String {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let _within = runtime.enter();
    let mut dialogue = Dialogue::new(console_with(configuration, Made::default()), Rights::All, "bob", "test");
    let text = format!("SHOW {report}");
    let mut frames: Vec<(u8, Vec<u8>)> = vec![(b'Q', [text.as_bytes(), b"\0"].concat())];
    if extended {
        let mut parse = Vec::new();
        build::write_parse(&mut parse, b"", text.as_bytes(), b"\0\0");
        frames = vec![(b'P', parse.split_off(5)), (b'B', vec![0; 8]), (b'E', vec![0; 5]), (b'S', Vec::new())];
    }
    let mut out = Vec::new();
    for (tag, body) in frames {
        dialogue.frame(tag, &body, &mut out).expect("a frame");
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[test]
fn reports_of_what_is_switched_off_say_which_key_switches_it_on() {
    let off = "[insight]\nenabled = false\n";
    for extended in [false, true] {
        for report in ["QUERIES", "SUMMARY", "N_PLUS_ONE", "SLOW", "PLANS", "APPLICATIONS", "BUDGETS", "TRENDS"] {
            let told = answer(off, report, extended);
            assert_eq!(told.matches("insight.enabled = true").count(), 1, "{report}: {told:?}");
        }
        for report in ["POOLS", "CONFIG (key) WHERE key = 'pool.size'"] {
            assert!(!answer(off, report, extended).contains("NOTICE"), "{report}");
        }
        assert!(answer("", "PLANS", extended).contains("insight.plans = true"));
        assert!(!answer("", "QUERIES", extended).contains("NOTICE"));
    }
}
