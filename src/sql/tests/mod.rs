//! What texts tell: tokens, equivalence of statements, what is shown of them, what they do.

mod lexer;
mod normalised;
mod patterns;
mod random;
mod same;
mod traits;
mod unnamed;
mod words;

use super::first_word;

#[test]
fn the_first_word_stands_after_blanks_and_nested_comments() {
    assert_eq!(first_word(b" \n-- begin\n/* a /* b */ c */ Begin;"), b"Begin");
    assert_eq!(first_word(b"/* open"), b"");
    assert_eq!(first_word(b"(select 1)"), b"");
}
