//! Borrowed views of the frames that a session or a login must understand. Text stays bytes: its encoding is the
//! client's business. Every view checks its bounds and refuses what does not fit.

use super::scan::Malformed;
use super::tag::{backend, client};

/// Splits a zero-terminated string off `bytes`: (string without the zero, what follows it).
#[must_use]
pub fn split_cstr(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// The types in [`Parse::types`]; 0 is one that PostgreSQL is to find.
#[must_use]
pub fn parameter_types(types: &[u8]) -> Vec<u32> {
    let oids = types.get(2..).unwrap_or_default().chunks_exact(4);
    oids.filter_map(|oid| Some(u32::from_be_bytes(*oid.first_chunk()?))).collect()
}

/// Parse: names a statement, gives its text and the types of some of its parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parse<'a> {
    pub name: &'a [u8],
    pub text: &'a [u8],
    /// The count and the type OIDs as they were sent.
    pub types: &'a [u8],
}

impl<'a> Parse<'a> {
    /// # Errors
    /// A body that is not name, text, count and as many OIDs.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let malformed = Malformed::Contents { tag: client::PARSE };
        let (name, rest) = split_cstr(body).ok_or(malformed)?;
        let (text, types) = split_cstr(rest).ok_or(malformed)?;
        let (count, oids) = types.split_first_chunk::<2>().ok_or(malformed)?;
        if oids.len() != usize::from(u16::from_be_bytes(*count)) * 4 {
            return Err(malformed);
        }
        Ok(Self { name, text, types })
    }
}

/// The part of a Bind that says which statement becomes which portal; its values are not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bind<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
}

impl<'a> Bind<'a> {
    /// Reads the names at the start of `body`, which may be only the beginning of the frame.
    ///
    /// # Errors
    /// No two names are there.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let malformed = Malformed::Contents { tag: client::BIND };
        let (portal, rest) = split_cstr(body).ok_or(malformed)?;
        let (statement, _) = split_cstr(rest).ok_or(malformed)?;
        Ok(Self { portal, statement })
    }

    /// Bytes of the body up to what follows the two names.
    #[must_use]
    pub fn names_len(&self) -> usize {
        self.portal.len() + self.statement.len() + 2
    }
}

/// One value of a Bind that is not NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoundValue<'a> {
    pub bytes: &'a [u8],
    /// Its first byte in the body.
    pub at: usize,
    pub binary: bool,
}

/// The values that a Bind gives to parameters, in order and without those that are NULL; `None` where the body is not
/// whole (manual: "Message Formats", Bind).
#[must_use]
pub fn bound_values(body: &[u8]) -> Option<Vec<BoundValue<'_>>> {
    bound(body).map(|all| all.into_iter().filter_map(Result::ok).collect())
}

/// The most values of a Bind that are shown, and the most bytes of each.
const SAMPLED: (usize, usize) = (64, 256);

/// The first values that a Bind gives to parameters, the beginning of each, for somebody to read: those in binary
/// format in hexadecimal digits, `None` for NULL. `None` where the body is not whole.
#[must_use]
pub fn sampled_values(body: &[u8]) -> Option<Vec<Option<Box<str>>>> {
    let shown = |value: BoundValue<'_>| {
        let bytes = value.bytes.get(..value.bytes.len().min(SAMPLED.1)).unwrap_or_default();
        if value.binary {
            let digits = bytes.iter().map(|byte| format!("{byte:02x}"));
            return std::iter::once("\\x".to_owned()).chain(digits).collect::<String>().into();
        }
        String::from_utf8_lossy(bytes).into()
    };
    Some(bound(body)?.into_iter().take(SAMPLED.0).map(|value| value.ok().map(shown)).collect())
}

/// The same with those that are NULL: where in the body the length stands that says so.
#[must_use]
pub fn bound(body: &[u8]) -> Option<Vec<Result<BoundValue<'_>, usize>>> {
    fn number<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
        let (number, after) = rest.split_first_chunk::<N>()?;
        *rest = after;
        Some(*number)
    }
    let mut rest = body.get(Bind::read(body).ok()?.names_len()..)?;
    let count = u16::from_be_bytes(number(&mut rest)?);
    let formats = (0..count).map(|_| number(&mut rest).map(u16::from_be_bytes)).collect::<Option<Vec<_>>>()?;
    let mut values = Vec::new();
    for index in 0..usize::from(u16::from_be_bytes(number(&mut rest)?)) {
        let format = if formats.len() == 1 { formats.first() } else { formats.get(index) };
        let at = body.len() - rest.len();
        // A negative length is NULL.
        let Ok(len) = usize::try_from(i32::from_be_bytes(number(&mut rest)?)) else {
            values.push(Err(at));
            continue;
        };
        let (bytes, after) = rest.split_at_checked(len)?;
        values.push(Ok(BoundValue { bytes, at: at + size_of::<i32>(), binary: format == Some(&1) }));
        rest = after;
    }
    Some(values)
}

/// What a Describe or Close is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    Portal(&'a [u8]),
    Statement(&'a [u8]),
}

impl<'a> Target<'a> {
    /// Reads the body of a Describe or Close, whose tag is for the error.
    ///
    /// # Errors
    /// Neither `S` nor `P`, or no name.
    pub fn read(tag: u8, body: &'a [u8]) -> Result<Self, Malformed> {
        let malformed = Malformed::Contents { tag };
        let (&kind, rest) = body.split_first().ok_or(malformed)?;
        let (name, rest) = split_cstr(rest).ok_or(malformed)?;
        match kind {
            _ if !rest.is_empty() => Err(malformed),
            b'P' => Ok(Self::Portal(name)),
            b'S' => Ok(Self::Statement(name)),
            _ => Err(malformed),
        }
    }
}

/// The text of a Query, or what is here of it.
#[must_use]
pub fn query_text(body: &[u8]) -> &[u8] {
    body.strip_suffix(b"\0").unwrap_or(body)
}

/// What ReadyForQuery says of the transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Transaction {
    Failed,
    #[default]
    Idle,
    Open,
}

impl Transaction {
    /// # Errors
    /// Anything but `I`, `T` or `E`.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        match body {
            b"I" => Ok(Self::Idle),
            b"T" => Ok(Self::Open),
            b"E" => Ok(Self::Failed),
            _ => Err(Malformed::Contents { tag: backend::READY_FOR_QUERY }),
        }
    }

    #[must_use]
    pub fn byte(self) -> u8 {
        match self {
            Self::Failed => b'E',
            Self::Idle => b'I',
            Self::Open => b'T',
        }
    }
}

/// ParameterStatus: (name, value).
///
/// # Errors
/// A body that is not two strings.
pub fn parameter_status(body: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let malformed = Malformed::Contents { tag: backend::PARAMETER_STATUS };
    let (name, rest) = split_cstr(body).ok_or(malformed)?;
    let (value, _) = split_cstr(rest).ok_or(malformed)?;
    Ok((name, value))
}

/// The fields of an ErrorResponse or NoticeResponse that pgweir looks at; empty where absent or cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report<'a> {
    /// The untranslated severity (field `V`, PostgreSQL 9.6 and later).
    pub severity: &'a [u8],
    pub code: &'a [u8],
    pub message: &'a [u8],
    /// The function of PostgreSQL's source that reports it.
    pub routine: &'a [u8],
}

impl<'a> Report<'a> {
    /// Reads as many fields as `body` holds.
    #[must_use]
    pub fn read(body: &'a [u8]) -> Self {
        let mut report = Self::default();
        let mut rest = body;
        while let Some((&kind, after)) = rest.split_first() {
            if kind == 0 {
                break;
            }
            let Some((value, next)) = split_cstr(after) else { break };
            match kind {
                b'V' => report.severity = value,
                b'C' => report.code = value,
                b'M' => report.message = value,
                b'R' => report.routine = value,
                _ => {}
            }
            rest = next;
        }
        report
    }

    /// Whether the backend ends its connection with this report.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        matches!(self.severity, b"FATAL" | b"PANIC")
    }
}

/// BackendKeyData: (process id, secret key, 4 bytes in protocol 3.0 and up to 256 in 3.2).
///
/// # Errors
/// Fewer than eight bytes.
pub fn backend_key_data(body: &[u8]) -> Result<(i32, &[u8]), Malformed> {
    let malformed = Malformed::Contents { tag: backend::BACKEND_KEY_DATA };
    let (pid, key) = body.split_first_chunk::<4>().ok_or(malformed)?;
    if key.len() < 4 || key.len() > 256 {
        return Err(malformed);
    }
    Ok((i32::from_be_bytes(*pid), key))
}

/// NotificationResponse: somebody's NOTIFY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification<'a> {
    /// Process id of the backend that notified.
    pub pid: i32,
    pub channel: &'a [u8],
    pub payload: &'a [u8],
}

impl<'a> Notification<'a> {
    /// # Errors
    /// A body that is not a number and two strings.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let malformed = Malformed::Contents { tag: backend::NOTIFICATION_RESPONSE };
        let (pid, rest) = body.split_first_chunk::<4>().ok_or(malformed)?;
        let (channel, rest) = split_cstr(rest).ok_or(malformed)?;
        let (payload, rest) = split_cstr(rest).ok_or(malformed)?;
        if !rest.is_empty() {
            return Err(malformed);
        }
        Ok(Self { pid: i32::from_be_bytes(*pid), channel, payload })
    }
}

/// The text columns of one DataRow; `None` for NULL.
///
/// # Errors
/// Lengths that do not fit the body.
pub fn data_row(body: &[u8]) -> Result<Vec<Option<&[u8]>>, Malformed> {
    let malformed = Malformed::Contents { tag: backend::DATA_ROW };
    let (count, mut rest) = body.split_first_chunk::<2>().ok_or(malformed)?;
    let mut columns = Vec::new();
    for _ in 0..u16::from_be_bytes(*count) {
        let (length, after) = rest.split_first_chunk::<4>().ok_or(malformed)?;
        rest = after;
        match usize::try_from(i32::from_be_bytes(*length)) {
            Ok(length) => {
                columns.push(Some(rest.get(..length).ok_or(malformed)?));
                rest = rest.get(length..).ok_or(malformed)?;
            }
            Err(_) => columns.push(None),
        }
    }
    Ok(columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parse_whose_type_count_disagrees_with_its_length_is_refused() {
        assert!(Parse::read(b"s\0select 1\0\0\0").is_ok());
        assert!(Parse::read(b"s\0select 1\0\0\x01").is_err());
        assert!(Parse::read(b"s\0select 1\0\0\x01\0\0\0\x17").is_ok());
        assert!(Parse::read(b"s\0select 1").is_err());
    }

    #[test]
    fn a_bind_is_read_from_its_beginning_alone() {
        let bind = Bind::read(b"p\0s\0\0\0\0").expect("two names");
        assert_eq!((bind.portal, bind.statement, bind.names_len()), (&b"p"[..], &b"s"[..], 4));
        assert!(Bind::read(b"p\0s").is_err());
    }

    #[test]
    fn an_error_report_gives_its_code_and_whether_it_is_fatal() {
        let report = Report::read(b"SFATAL\0VFATAL\0C57P01\0Mterminating\0\0");
        assert_eq!(report.code, b"57P01");
        assert!(report.is_fatal());
        assert!(!Report::read(b"SERR").is_fatal());
    }

    #[test]
    fn a_notification_needs_a_number_and_two_strings() {
        let read = Notification::read(b"\0\0\0\x07news\0hello\0").expect("whole");
        assert_eq!((read.pid, read.channel, read.payload), (7, &b"news"[..], &b"hello"[..]));
        for broken in [&b"\0\0\0"[..], b"\0\0\0\x07news", b"\0\0\0\x07news\0hello", b"\0\0\0\x07news\0hello\0x"] {
            assert!(Notification::read(broken).is_err(), "{broken:?}");
        }
    }

    #[test]
    fn a_row_with_lengths_beyond_its_end_is_refused() {
        assert_eq!(data_row(b"\0\x02\0\0\0\x01x\xff\xff\xff\xff"), Ok(vec![Some(&b"x"[..]), None]));
        assert!(data_row(b"\0\x01\0\0\0\x09x").is_err());
    }
}
