//! What can be told from a statement's text: which command it is, and what it may leave behind ([`Leaves`]).
//!
//! It looks at bytes, never at a server, and knows nothing of sessions.

mod leaves;

pub use leaves::Leaves;

/// The first word of a statement, after white space and comments; empty where there is none.
#[must_use]
pub fn first_word(text: &[u8]) -> Vec<u8> {
    let text = skip_blank(text);
    let end = text.iter().position(|byte| !byte.is_ascii_alphabetic() && *byte != b'_').unwrap_or(text.len());
    text.get(..end).unwrap_or_default().to_vec()
}

/// Skips white space and comments; block comments nest (manual: "Lexical Structure", "Comments").
fn skip_blank(mut text: &[u8]) -> &[u8] {
    loop {
        text = text.trim_ascii_start();
        text = match text {
            [b'-', b'-', rest @ ..] => {
                let end = rest.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(rest.len());
                rest.get(end..).unwrap_or_default()
            }
            [b'/', b'*', rest @ ..] => skip_block_comment(rest),
            _ => return text,
        }
    }
}

fn skip_block_comment(mut text: &[u8]) -> &[u8] {
    let mut depth = 1;
    while depth > 0 {
        text = match text {
            [] => return text,
            [b'/', b'*', rest @ ..] => {
                depth += 1;
                rest
            }
            [b'*', b'/', rest @ ..] => {
                depth -= 1;
                rest
            }
            [_, rest @ ..] => rest,
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_word_stands_after_blanks_and_nested_comments() {
        assert_eq!(first_word(b" \n-- begin\n/* a /* b */ c */ Begin;"), b"Begin");
        assert_eq!(first_word(b"/* open"), b"");
        assert_eq!(first_word(b"(select 1)"), b"");
    }
}
