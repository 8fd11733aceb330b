use crate::sql::{Encoding, Lexer, Lexing, Quoting, TokenKind};

const OFF: Lexing = Lexing { conforming: false, encoding: Encoding::Safe };

fn cut(text: &[u8], lexing: Lexing) -> Vec<(TokenKind, String)> {
    let shown = |token: crate::sql::Token| String::from_utf8_lossy(token.of(text)).into_owned();
    Lexer::new(text, lexing).map(|token| (token.kind, shown(token))).collect()
}

/// The tokens of a text, with blanks between them.
fn tokens(text: &str) -> String {
    cut(text.as_bytes(), Lexing::default()).into_iter().map(|(_, token)| token).collect::<Vec<_>>().join(" ")
}

fn kinds(text: &str) -> Vec<TokenKind> {
    cut(text.as_bytes(), Lexing::default()).into_iter().map(|(kind, _)| kind).collect()
}

/// The forms of the strings in a text, which must be made of strings alone.
fn strings(text: &[u8], lexing: Lexing) -> Vec<Quoting> {
    let quoting = |(kind, shown): (TokenKind, String)| match kind {
        TokenKind::Text(quoting) => quoting,
        other => panic!("{shown} is {other:?}"),
    };
    cut(text, lexing).into_iter().map(quoting).collect()
}

#[test]
fn strings_of_all_forms_are_one_token_each() {
    let text = br"'it''s' E'a\'b' e'\\' B'01' x'1F' N'n' U&'\0061' u&'x' $$a'b$$ $tag$ $$ $x$ $tag$ ''";
    use Quoting::{Bits, Dollar, Escape, Hex, Plain, Unicode};
    assert_eq!(
        strings(text, Lexing::default()),
        [Plain, Escape, Escape, Bits, Hex, Plain, Unicode, Unicode, Dollar, Dollar, Plain]
    );
}

#[test]
fn a_string_goes_on_after_a_line_break() {
    assert_eq!(strings(b"'a'\n  'b' -- comment\n 'c'", Lexing::default()).len(), 1);
    assert_eq!(strings(b"'a'  'b'", Lexing::default()).len(), 2);
    assert_eq!(strings(b"'a' /* c */\n 'b'", Lexing::default()).len(), 2);
    assert_eq!(strings(b"E'a'\n'\\'b'", Lexing::default()).len(), 1);
}

#[test]
fn a_backslash_escapes_in_plain_strings_only_where_the_setting_is_off() {
    assert_eq!(strings(br"'\' 'x'", Lexing::default()).len(), 2);
    assert_eq!(strings(br"'\' 'x'", OFF).len(), 1 + 1, "the second string is not closed");
    assert_eq!(strings(br"'a\'b'", OFF).len(), 1);
    assert_eq!(strings(br"$$\$$", OFF).len(), 1);
}

#[test]
fn numbers_are_cut_as_postgresql_cuts_them() {
    assert_eq!(
        tokens("1 1.5 .5 1. 1e10 1.5e-3 1_000 0x1F 0o17 0b101 1_0.2_5"),
        "1 1.5 .5 1. 1e10 1.5e-3 1_000 0x1F 0o17 0b101 1_0.2_5"
    );
    assert!(kinds("1 1.5 .5 1. 1e10 1.5e-3 1_000 0x1F 0o17 0b101").iter().all(|kind| *kind == TokenKind::Number));
    assert_eq!(tokens("1..2"), "1 . .2");
    assert_eq!(tokens("1e 0x 1a"), "1 e 0 x 1 a");
    assert_eq!(tokens("a.1"), "a .1");
}

#[test]
fn operators_end_before_comments_and_signs() {
    assert_eq!(tokens("a--b\n+1"), "a + 1");
    assert_eq!(tokens("a</*c*/b"), "a < b");
    assert_eq!(tokens("a=-1"), "a = - 1");
    assert_eq!(tokens("a@-1"), "a @- 1");
    assert_eq!(tokens("a<>-+1"), "a <> - + 1");
    assert_eq!(tokens("a+-+--c\n*+-1"), "a + - + * + - 1");
    assert_eq!(tokens("a::int b:=1 c=>2 x[1:2] j?|k"), "a :: int b := 1 c => 2 x [ 1 : 2 ] j ?| k");
}

#[test]
fn comments_nest_and_vanish() {
    assert_eq!(tokens("a /* x /* y */ ' */ b -- 'c\r d"), "a b d");
    assert_eq!(tokens("/* open /* */ a"), "");
}

#[test]
fn names_and_parameters_are_told_apart() {
    use TokenKind::{Name, Parameter, Stray, UnicodeName, Word};
    assert_eq!(kinds(r#"a $1 "a""b" U&"x" a$1 $ é"#), [Word, Parameter, Name, UnicodeName, Word, Stray, Word]);
    assert_eq!(tokens("$1$2"), "$1 $2");
    assert_eq!(tokens("$a b"), "$ a b");
}

#[test]
fn as_many_signs_as_there_may_be_are_read_one_after_the_other() {
    // Were the rest looked at for each of them, this would take hours.
    let signs = b"+-".repeat(4 << 20);
    assert_eq!(Lexer::new(&signs, Lexing::default()).count(), signs.len());
}

#[test]
fn what_is_not_closed_reaches_to_the_end() {
    for text in ["'a", "\"a", "/* a", "$$a", "$a$ b $a", "E'a\\'", "U&'", "'a'\n'"] {
        let mut lexer = Lexer::new(text.as_bytes(), Lexing::default());
        let last = lexer.by_ref().last();
        assert!(lexer.unclosed(), "{text}");
        assert!(last.is_none_or(|token| token.end == text.len()), "{text}");
    }
    let mut closed = Lexer::new(b"'a' \"b\" /* */ $$ $$", Lexing::default());
    assert_eq!(closed.by_ref().count(), 3);
    assert!(!closed.unclosed());
}

#[test]
fn bytes_within_a_character_that_look_like_ascii_mean_nothing() {
    let encoded = |name: &str, conforming| Lexing { conforming, encoding: Encoding::named(name.as_bytes()) };
    // In Shift JIS the second byte of 表 is a backslash, and that of ソ as well.
    assert_eq!(strings(b"E'\x95\x5c' 'x'", encoded("SJIS", true)).len(), 2);
    assert_eq!(strings(b"'\x83\x5c' 'x'", encoded("shift_jis_2004", false)).len(), 2);
    assert_eq!(strings(b"E'\x95\x5c' 'x'", Lexing::default()).len(), 2, "the first quote is escaped there");
    // Half-width katakana have one byte; the backslash after them is one.
    assert_eq!(strings(br"E'\xb1\''".as_slice(), encoded("SJIS", true)).len(), 1);
    for name in ["BIG5", "GBK", "UHC", "JOHAB", "GB18030", "windows-949"] {
        assert_eq!(strings(b"E'\xa5\x5c' 'x'", encoded(name, true)).len(), 2, "{name}");
        assert_eq!(cut(b"\xa5\x7c\xa5\x5c", encoded(name, true)).len(), 1, "{name}");
    }
    assert_eq!(cut(b"\x81\x30\x81\x30 a", encoded("GB18030", true)).len(), 2);
    assert_eq!(cut(b"\xa5", encoded("BIG5", true)).len(), 1, "half a character");
    assert_eq!(Encoding::named(b"UTF8"), Encoding::Safe);
    assert_eq!(Encoding::named(b"EUC_JP"), Encoding::Safe);
}
