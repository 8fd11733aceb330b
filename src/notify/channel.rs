//! Names of channels: bytes in the client's encoding, exactly as PostgreSQL compares them.

use std::borrow::Borrow;
use std::sync::Arc;

/// Longest name that PostgreSQL tells apart (NAMEDATALEN − 1).
pub const LONGEST: usize = 63;

/// A channel's name: 1 to 63 bytes without a zero. Clones share it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Channel(Arc<[u8]>);

/// What no channel can be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadChannel {
    #[error("channel name cannot be empty")]
    Empty,
    #[error("channel name too long")]
    TooLong,
    #[error("channel name cannot hold a zero byte")]
    Zero,
}

impl Channel {
    /// The channel of exactly this name.
    ///
    /// # Errors
    /// [`BadChannel`].
    pub fn new(name: &[u8]) -> Result<Self, BadChannel> {
        match name {
            [] => Err(BadChannel::Empty),
            _ if name.contains(&0) => Err(BadChannel::Zero),
            _ if name.len() > LONGEST => Err(BadChannel::TooLong),
            _ => Ok(Self(name.into())),
        }
    }

    /// The channel that a statement names by this identifier, as it is written there: quoted, or plain and then in
    /// lower case. What is too long is cut off as PostgreSQL does, at the end of a character of UTF-8 text.
    ///
    /// # Errors
    /// [`BadChannel`].
    pub fn from_identifier(written: &[u8]) -> Result<Self, BadChannel> {
        let mut name = match written {
            [b'"', quoted @ .., b'"'] => undoubled(quoted),
            plain => plain.to_ascii_lowercase(),
        };
        if name.len() > LONGEST {
            let whole = std::str::from_utf8(&name).map_or(LONGEST, |text| text.floor_char_boundary(LONGEST));
            name.truncate(whole);
        }
        Self::new(&name)
    }

    /// The name itself.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.0
    }

    /// Appends the name as a quoted identifier. No client encoding has a quotation mark inside a character.
    pub(super) fn write_quoted(&self, to: &mut Vec<u8>) {
        to.push(b'"');
        for byte in self.name() {
            to.push(*byte);
            if *byte == b'"' {
                to.push(b'"');
            }
        }
        to.push(b'"');
    }
}

/// Each pair of quotation marks is one.
fn undoubled(quoted: &[u8]) -> Vec<u8> {
    let mut name = Vec::with_capacity(quoted.len());
    let mut half = false;
    for byte in quoted {
        half = *byte == b'"' && !half;
        if !half {
            name.push(*byte);
        }
    }
    name
}

impl Borrow<[u8]> for Channel {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Channel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\"", self.0.escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> Vec<u8> {
        Channel::from_identifier(text.as_bytes()).expect("a name").name().to_vec()
    }

    #[test]
    fn identifiers_are_read_as_postgresql_reads_them() {
        assert_eq!(written("News"), b"news");
        assert_eq!(written("\"News \"\"of\"\" today\""), b"News \"of\" today");
        assert_eq!(written(&"x".repeat(70)), [b'x'; 63]);
        assert_eq!(written(&format!("\"{}é\"", "x".repeat(62))), [b'x'; 62]);
        assert_eq!(Channel::from_identifier(b"\"\""), Err(BadChannel::Empty));
    }

    #[test]
    fn names_are_quoted_whatever_they_hold() {
        let mut text = Vec::new();
        Channel::new(b"a\"b\\ \xff").expect("a name").write_quoted(&mut text);
        assert_eq!(text, b"\"a\"\"b\\ \xff\"");
    }

    #[test]
    fn names_that_no_channel_can_have_are_refused() {
        assert_eq!(Channel::new(&[b'x'; 64]), Err(BadChannel::TooLong));
        assert_eq!(Channel::new(b"a\0b"), Err(BadChannel::Zero));
        assert!(Channel::new(&[b'x'; 63]).is_ok());
    }
}
