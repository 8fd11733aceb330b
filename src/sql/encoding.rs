//! Client encodings whose characters may end in bytes that look like ASCII.
//!
//! PostgreSQL converts a text before it reads it, so a backslash or a letter that is the tail of a character means
//! nothing. Manual: "Character Set Support", the table of client encodings without a server side.

/// How many bytes a character has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// UTF8, the EUC family, the single-byte ones: bytes below 0x80 are always ASCII.
    #[default]
    Safe,
    /// SJIS and SHIFT_JIS_2004: two bytes, but for half-width katakana.
    ShiftJis,
    /// BIG5, GBK and UHC: two bytes.
    TwoBytes,
    /// GB18030: two or four bytes, by the second one.
    Gb18030,
    /// JOHAB: two bytes, three after 0x8F.
    Johab,
}

impl Encoding {
    /// The encoding that `client_encoding` names, in any case and with or without the punctuation that PostgreSQL
    /// ignores.
    #[must_use]
    pub fn named(name: &[u8]) -> Self {
        let plain: Vec<u8> =
            name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase).collect();
        match plain.as_slice() {
            b"sjis" | b"shiftjis" | b"mskanji" | b"win932" | b"windows932" | b"shiftjis2004" => Self::ShiftJis,
            b"big5" | b"win950" | b"windows950" | b"gbk" | b"win936" | b"windows936" | b"uhc" | b"win949"
            | b"windows949" => Self::TwoBytes,
            b"gb18030" => Self::Gb18030,
            b"johab" => Self::Johab,
            _ => Self::Safe,
        }
    }

    /// The length of the character that begins with the byte `lead`, which is 0x80 or above.
    pub(super) fn length(self, lead: u8, second: Option<u8>) -> usize {
        match self {
            Self::Safe => 1,
            Self::ShiftJis if (0xA1..=0xDF).contains(&lead) => 1,
            Self::Gb18030 if second.is_some_and(|byte| byte.is_ascii_digit()) => 4,
            Self::Johab if lead == 0x8F => 3,
            Self::ShiftJis | Self::TwoBytes | Self::Gb18030 | Self::Johab => 2,
        }
    }
}
