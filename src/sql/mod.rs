//! What can be told from a statement's text: its tokens, its digest, its normalised form, and its traits.
//!
//! It looks at bytes, never at a server, and knows nothing of sessions. Two read it: the session machine asks what a
//! text may do to its session ([`Effects`], [`Command`]), insight asks what it is ([`Digest`], [`normalised()`],
//! [`Kind`], tables).
//!
//! On the hot path a text is cut into tokens (`lexer`, `bytes`), folded and hashed in one pass (`folding`, `hash`), and
//! looked up ([`Patterns`]). Only a pattern that was never seen is parsed (`learning`), which is the one place that knows
//! libpg_query.

mod bodies;
mod bytes;
mod custom;
mod definitions;
mod digest;
mod effects;
mod encoding;
mod folding;
mod hash;
mod identifiers;
mod keywords;
mod landmark;
mod learning;
mod lexer;
mod memo;
mod names;
mod normalised;
mod parsable;
mod pattern;
mod patterns;
mod savepoints;
mod tables;
#[cfg(test)]
mod tests;
mod unnamed;

pub use bodies::{do_bodies, strings};
pub use custom::{custom_names, names_given, spelled_names};
pub use definitions::Definitions;
pub use digest::Digest;
pub use effects::Effects;
pub use encoding::Encoding;
pub use identifiers::last_part;
pub use learning::conditions::{Compares, Condition, conditions, joined_columns};
pub use learning::words::Words;
pub use lexer::{Lexer, Lexing, Quoting, Token, TokenKind};
pub use names::{LONGEST_NAME, is_ambiguous, is_exact, is_meant, name_bytes};
pub use normalised::{last_parameter, normalised, parameters};
pub use pattern::{Command, Discard, Kind, Name, Note, Pattern, Shape, Traits};
pub use patterns::{Patterns, Weighed};
pub use savepoints::savepoints;
pub use tables::{Tables, tables};
pub use unnamed::{Unnamed, begins_a_name, runs_given, unnamed_settings};

/// Whether some word of the text may stand for an effect on the session, so that it has to be parsed before it runs,
/// unless its pattern is known.
#[must_use]
pub fn suspicious(text: &[u8], lexing: &Lexing) -> bool {
    !words(text, lexing).effects.is_empty()
}

/// What a text may do by its words alone. Meant for the bodies of functions, in SQL or PL/pgSQL: BEGIN and END of a
/// block look like those of a transaction, EXECUTE like that of a prepared statement.
#[must_use]
pub fn words(text: &[u8], lexing: &Lexing) -> Words {
    learning::words::read(text, lexing)
}

/// Where the statements of a text stand, without the semicolons between them.
pub fn statements<'a>(text: &'a [u8], lexing: &Lexing) -> impl Iterator<Item = std::ops::Range<usize>> + use<'a> {
    learning::statements(text, lexing)
}

/// Whether a name means something else to PostgreSQL unless it is quoted.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    keywords::is_reserved(hash::head(name.as_bytes()), name.as_bytes())
}

/// Whether a word is a keyword of any kind.
#[must_use]
pub fn is_keyword(word: &[u8]) -> bool {
    keywords::is_keyword(word)
}

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
