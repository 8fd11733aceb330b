//! Finding frame boundaries in a stream of bytes: headers only, bodies are not looked at.

/// Length of a frame's header: the tag and four bytes of length.
pub const HEADER: usize = 5;

/// The start of one frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    pub tag: u8,
    /// Bytes of the body, without the header.
    pub body: usize,
}

/// One frame, or the beginning of one that is longer than what has arrived.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    pub tag: u8,
    /// Bytes of the whole body.
    pub len: usize,
    /// What is here of the body; shorter than `len` where the rest streams past.
    pub body: &'a [u8],
}

/// What cannot be a frame; after it the stream has no boundaries any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("invalid message length {length} of message type {}", show_tag(*.tag))]
    Length { tag: u8, length: i32 },
    #[error("message of type {} and {length} bytes exceeds the limit of {limit} bytes", show_tag(*.tag))]
    TooLong { tag: u8, length: usize, limit: usize },
    #[error("message contents of type {} do not agree with its length or format", show_tag(*.tag))]
    Contents { tag: u8 },
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` while fewer than five bytes are here.
    ///
    /// # Errors
    /// A length below 4, or a body over `limit` bytes.
    pub fn read(bytes: &[u8], limit: usize) -> Result<Option<Self>, Malformed> {
        let Some((&[tag, a, b, c, d], _)) = bytes.split_first_chunk::<HEADER>() else {
            return Ok(None);
        };
        let length = i32::from_be_bytes([a, b, c, d]);
        let Some(body) = usize::try_from(length).ok().and_then(|length| length.checked_sub(4)) else {
            return Err(Malformed::Length { tag, length });
        };
        if body > limit {
            return Err(Malformed::TooLong { tag, length: body, limit });
        }
        Ok(Some(Self { tag, body }))
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn frame(self) -> usize {
        HEADER + self.body
    }
}

impl Frame<'_> {
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.body.len() == self.len
    }
}

fn show_tag(tag: u8) -> String {
    if tag.is_ascii_graphic() { format!("\"{}\"", char::from(tag)) } else { format!("0x{tag:02X}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_needs_five_bytes() {
        assert_eq!(Header::read(b"Q\0\0\0", 100), Ok(None));
        assert_eq!(Header::read(b"Q\0\0\0\x09more", 100), Ok(Some(Header { tag: b'Q', body: 5 })));
    }

    #[test]
    fn lengths_that_no_frame_can_have_are_refused() {
        assert_eq!(Header::read(b"Q\0\0\0\x03", 100), Err(Malformed::Length { tag: b'Q', length: 3 }));
        assert_eq!(Header::read(b"Q\xff\xff\xff\xff", 100), Err(Malformed::Length { tag: b'Q', length: -1 }));
        assert_eq!(
            Header::read(b"Q\x7f\xff\xff\xff", 100),
            Err(Malformed::TooLong { tag: b'Q', length: 0x7fff_fffb, limit: 100 })
        );
    }
}
