//! What holds for any text: nothing panics, no literal survives, and literals, layout, case and comments do not matter.

use proptest::prelude::*;

use super::same::digest;
use crate::sql::folding::{Literal, Writer, fold};
use crate::sql::lexer::Token;
use crate::sql::{Digest, Encoding, Lexer, Lexing, Patterns, custom_names, normalised, suspicious};

/// A piece of a statement, of which some may be written in another way.
#[derive(Debug, Clone)]
enum Piece {
    Word(&'static str),
    Sign(&'static str),
    Literal,
}

fn piece() -> impl Strategy<Value = Piece> {
    let words = [
        "select",
        "from",
        "where",
        "t",
        "a",
        "b",
        "c1",
        "order",
        "group",
        "by",
        "in",
        "and",
        "or",
        "not",
        "values",
        "insert",
        "into",
        "update",
        "set",
        "array",
        "as",
        "limit",
        "union",
        "is",
        "any",
        "lower",
        "create",
        "returning",
        "distinct",
        "on",
        "set_config",
        "rollup",
        "with",
        "between",
        "a_name_of_some_length",
    ];
    let signs = ["(", ")", ",", "[", "]", ".", "::", "=", "<>", "||", ";", "*", "->>", ":"];
    prop_oneof![
        4 => prop::sample::select(words.to_vec()).prop_map(Piece::Word),
        3 => prop::sample::select(signs.to_vec()).prop_map(Piece::Sign),
        3 => Just(Piece::Literal),
    ]
}

/// A literal of some kind that holds the canary, where it can.
fn literal() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "'CANARY'",
        "'it''s a CANARY'",
        "E'a \\' CANARY'",
        "U&'CANARY'",
        "$$CANARY$$",
        "$x$ $$ CANARY $x$",
        "N'CANARY'",
        "'a'\n 'CANARY'",
        "B'0101'",
        "x'CA'",
        "1.5",
        "987654321",
        "0xCAFE",
        "1e10",
    ])
}

fn blank() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        " ",
        "  ",
        "\n",
        "\t",
        " /* CANARY */ ",
        " -- CANARY\n",
        "/* a /* CANARY ' */ */",
        "\r\n  ",
    ])
}

/// The same statement twice: literals, layout and case differ.
fn two_ways() -> impl Strategy<Value = (String, String)> {
    let pieces = prop::collection::vec((piece(), literal(), literal(), blank(), blank(), any::<bool>()), 0..40);
    pieces.prop_map(|pieces| {
        let (mut one, mut other) = (String::new(), String::new());
        for (piece, first, second, blank, other_blank, capitals) in pieces {
            match piece {
                Piece::Word(word) => {
                    one.push_str(word);
                    other.push_str(&if capitals { word.to_uppercase() } else { word.to_owned() });
                }
                Piece::Sign(sign) => {
                    one.push_str(sign);
                    other.push_str(sign);
                }
                Piece::Literal => {
                    // The comment keeps two strings on two lines from becoming one.
                    one.push_str(first);
                    one.push_str("/**/");
                    other.push_str(second);
                    other.push_str("/**/");
                }
            }
            one.push_str(blank);
            other.push_str(other_blank);
        }
        (one, other)
    })
}

fn lexing() -> impl Strategy<Value = Lexing> {
    let encodings = ["UTF8", "SJIS", "BIG5", "GB18030", "JOHAB"];
    (any::<bool>(), prop::sample::select(encodings.to_vec()))
        .prop_map(|(conforming, name)| Lexing { conforming, encoding: Encoding::named(name.as_bytes()) })
}

/// Bytes of which many mean something to the scanner.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let telling = b"'\"$\\/*-;()[],.:eEuU&xXbB0123 \n\x81\x5c\xffa_";
    prop::collection::vec(prop_oneof![6 => prop::sample::select(telling.to_vec()), 1 => any::<u8>()], 0..200)
}

proptest! {
    #[test]
    fn statements_that_differ_in_literals_layout_and_case_are_one_pattern((one, other) in two_ways()) {
        // Whether a string next to set_config names a role is part of the pattern; so are the forms that hide it.
        prop_assume!(!one.contains("set_config"));
        prop_assert_eq!(digest(&one), digest(&other), "\n{}\n{}", one, other);
    }

    #[test]
    fn no_literal_survives((one, _) in two_ways(), cut in any::<prop::sample::Index>(), limit in 0..300_usize) {
        let lexing = Lexing::default();
        for text in [&one[..], &one[..cut.index(one.len() + 1)]] {
            let shown = normalised(text.as_bytes(), &lexing, limit);
            prop_assert!(!shown.contains("CANARY") && !shown.contains("98765"), "{}\n{}", text, shown);
            prop_assert!(shown.len() <= limit);
            let pattern = Patterns::new(1).learn(text.as_bytes(), &lexing);
            prop_assert!(!format!("{pattern:?}").contains("CANARY"), "{}\n{:?}", text, pattern);
        }
    }

    #[test]
    fn any_bytes_have_a_digest_and_a_pattern(text in bytes(), lexing in lexing()) {
        let patterns = Patterns::new(10);
        let mut until = 0;
        for token in Lexer::new(&text, lexing) {
            prop_assert!(until <= token.start && token.start < token.end && token.end <= text.len());
            until = token.end;
        }
        let learnt = patterns.learn(&text, &lexing);
        prop_assert_eq!(learnt.digest, Digest::of(&text, &lexing));
        prop_assert_eq!(patterns.known(&text, &lexing).map(|pattern| pattern.digest), Some(learnt.digest));
        prop_assert!(normalised(&text, &lexing, 50).len() <= 50);
        let _ = suspicious(&text, &lexing);
        prop_assert!(custom_names(&text).count() <= text.len());
    }

    #[test]
    fn what_is_shown_of_a_text_is_of_the_same_pattern((one, _) in two_ways()) {
        prop_assume!(!one.contains("set_config"));
        let shown = normalised(one.as_bytes(), &Lexing::default(), usize::MAX);
        prop_assume!(!shown.contains("..."));
        prop_assert_eq!(digest(&shown), digest(&one), "\n{}\n{}", one, shown);
    }
}

/// Hears of every token, and makes nothing of it.
struct Hearing;

impl Writer for Hearing {
    type Mark = ();

    fn mark(&self) {}
    fn leave_out(&mut self, (): (), _: bool) {}
    fn token(&mut self, _: Token) {}
    fn place(&mut self, _: Token, _: Literal) {}
    fn skip(&mut self, _: Token) {}
}

proptest! {
    #[test]
    fn a_list_has_the_same_digest_whether_its_elements_are_heard_of_or_not(
        open in prop::sample::select(vec!["in (", "array[", "order by a in (", "group by array[", "values ("]),
        elements in prop::collection::vec(
            prop::sample::select(vec![
                "1", "22", " 333 ", "4\n", "-5", "6.5", "0x1F", "1e5", "7a", "'8'", "$9", "null", "a", "(1)", "1 /* , 2 */",
                "1 -- 2\n", "1 + 1", "", "[1, 2]", "1::int", "select 1",
            ]),
            0..12,
        ),
        close in prop::sample::select(vec![")", "]", "", ") and b in (1, 2)", ", 2)"]),
    ) {
        let text = format!("select * from t where a {open}{}{close}", elements.join(","));
        let heard = fold(text.as_bytes(), Lexing::default(), 0, Hearing).lanes;
        prop_assert_eq!(digest(&text), Digest::from_number(heard.fixed), "{}", text);
    }
}
