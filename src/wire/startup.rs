//! Packets that come before a session: they have a length and a code, but no tag
//! (manual: "Message Formats", StartupMessage, SSLRequest, GSSENCRequest, CancelRequest).

use std::fmt;
use std::ops::Deref;

use super::view::split_cstr;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// The newest minor version of protocol 3 that pgweir speaks with clients.
pub const NEWEST_MINOR: u16 = 2;

/// What a CancelRequest must hold to be heeded; shown to nobody.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct CancelSecret(Box<[u8]>);

impl From<&[u8]> for CancelSecret {
    fn from(key: &[u8]) -> Self {
        Self(key.into())
    }
}

impl Deref for CancelSecret {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CancelSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CancelSecret(…)")
    }
}

/// One packet of a connection that has not started yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packet {
    Cancel { pid: i32, key: CancelSecret },
    GssEncRequest,
    SslRequest,
    Startup(Startup),
}

/// A StartupMessage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Startup {
    pub minor: u16,
    /// In the order sent, without `_pq_.` options.
    pub parameters: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names of `_pq_.` options: protocol extensions, none of which pgweir knows.
    pub extensions: Vec<Vec<u8>>,
}

/// Why a packet is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("invalid length of startup packet")]
    Length,
    #[error("invalid startup packet layout: expected terminator as last byte")]
    Layout,
    #[error("unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2")]
    Version { major: u16, minor: u16 },
}

/// Bytes of the whole packet that begins with `prefix`; `None` while fewer than four bytes are here.
///
/// # Errors
/// A length below 8 or above `limit`.
pub fn packet_len(prefix: &[u8], limit: usize) -> Result<Option<usize>, Refused> {
    let Some((length, _)) = prefix.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| Refused::Length)?;
    if length < 8 || length > limit { Err(Refused::Length) } else { Ok(Some(length)) }
}

impl Packet {
    /// Reads a whole packet, its length included.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn read(packet: &[u8]) -> Result<Self, Refused> {
        let body = packet.get(4..).ok_or(Refused::Length)?;
        let (code, rest) = body.split_first_chunk::<4>().ok_or(Refused::Length)?;
        match u32::from_be_bytes(*code) {
            CANCEL_REQUEST => {
                let (pid, key) = rest.split_first_chunk::<4>().ok_or(Refused::Length)?;
                Ok(Self::Cancel { pid: i32::from_be_bytes(*pid), key: key.into() })
            }
            GSSENC_REQUEST => Ok(Self::GssEncRequest),
            SSL_REQUEST => Ok(Self::SslRequest),
            version => {
                let [a, b, c, d] = version.to_be_bytes();
                let (major, minor) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
                if major != 3 {
                    return Err(Refused::Version { major, minor });
                }
                Startup::read(minor, rest).map(Self::Startup)
            }
        }
    }
}

impl Startup {
    fn read(minor: u16, mut rest: &[u8]) -> Result<Self, Refused> {
        let mut startup = Self { minor, parameters: Vec::new(), extensions: Vec::new() };
        loop {
            if rest == b"\0" {
                return Ok(startup);
            }
            let (name, after) = split_cstr(rest).ok_or(Refused::Layout)?;
            if name.is_empty() {
                return Err(Refused::Layout);
            }
            let (value, next) = split_cstr(after).ok_or(Refused::Layout)?;
            if name.starts_with(b"_pq_.") {
                startup.extensions.push(name.to_vec());
            } else {
                startup.parameters.push((name.to_vec(), value.to_vec()));
            }
            rest = next;
        }
    }

    /// The last value given for `name`, as PostgreSQL takes it.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&[u8]> {
        self.parameters.iter().rev().find(|(n, _)| n == name.as_bytes()).map(|(_, value)| value.as_slice())
    }
}

/// Appends a StartupMessage of protocol 3.0.
pub fn write_startup(to: &mut Vec<u8>, parameters: &[(&[u8], &[u8])]) {
    let start = to.len();
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(&(3_u32 << 16).to_be_bytes());
    for (name, value) in parameters {
        to.extend_from_slice(name);
        to.push(0);
        to.extend_from_slice(value);
        to.push(0);
    }
    to.push(0);
    super::build::write_length(to, start);
}

/// Appends an SSLRequest.
pub fn write_ssl_request(to: &mut Vec<u8>) {
    to.extend_from_slice(&8_u32.to_be_bytes());
    to.extend_from_slice(&SSL_REQUEST.to_be_bytes());
}

/// Appends a CancelRequest.
pub fn write_cancel_request(to: &mut Vec<u8>, pid: i32, key: &[u8]) {
    let start = to.len();
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(&CANCEL_REQUEST.to_be_bytes());
    to.extend_from_slice(&pid.to_be_bytes());
    to.extend_from_slice(key);
    super::build::write_length(to, start);
}

/// Splits the startup parameter `options` into settings, as the server's command line takes them: `-c name=value`,
/// `-cname=value` and `--name=value`, words separated by white space, a backslash taking the next character as it
/// is (manual: libpq's connection parameter `options`); of its short options those for European dates and working
/// memory, which are settings of a session (manual: "postgres").
///
/// # Errors
/// PostgreSQL's words about the first one that is none of these.
pub fn split_options(options: &[u8]) -> Result<Vec<(Vec<u8>, Vec<u8>)>, String> {
    let mut settings = Vec::new();
    let mut words = option_words(options).into_iter();
    while let Some(word) = words.next() {
        let unknown =
            || format!("invalid command-line argument for server process: {}", String::from_utf8_lossy(&word));
        let (option, assignment) = match word.as_slice() {
            b"-e" => {
                settings.push((b"datestyle".to_vec(), b"euro".to_vec()));
                continue;
            }
            [b'-', b'S', memory @ ..] => {
                let memory = if memory.is_empty() { words.next().ok_or_else(unknown)? } else { memory.to_vec() };
                settings.push((b"work_mem".to_vec(), memory));
                continue;
            }
            b"-c" => ("-c ", words.next().ok_or_else(unknown)?),
            [b'-', b'c', rest @ ..] => ("-c ", rest.to_vec()),
            [b'-', b'-', rest @ ..] => ("--", rest.to_vec()),
            _ => return Err(unknown()),
        };
        let Some(equals) = memchr::memchr(b'=', &assignment).filter(|at| *at > 0) else {
            return Err(format!("{option}{} requires a value", String::from_utf8_lossy(&assignment)));
        };
        let (name, value) = assignment.split_at(equals);
        let name = name.iter().map(|byte| if *byte == b'-' { b'_' } else { *byte }).collect();
        settings.push((name, value.get(1..).unwrap_or_default().to_vec()));
    }
    Ok(settings)
}

fn option_words(options: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = options.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => word.get_or_insert_default().extend(bytes.next()),
            byte if byte.is_ascii_whitespace() => words.extend(word.take()),
            byte => word.get_or_insert_default().push(byte),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn startup(parameters: &[u8]) -> Vec<u8> {
        let mut packet = Vec::from([0; 4]);
        packet.extend_from_slice(&[0, 3, 0, 2]);
        packet.extend_from_slice(parameters);
        let length = u32::try_from(packet.len()).expect("short");
        packet[..4].copy_from_slice(&length.to_be_bytes());
        packet
    }

    #[test]
    fn a_startup_packet_gives_parameters_and_extensions() {
        let Packet::Startup(read) = Packet::read(&startup(b"user\0u\0_pq_.x\x001\0database\0d\0\0")).expect("valid")
        else {
            panic!("a startup packet");
        };
        assert_eq!(read.minor, 2);
        assert_eq!(read.parameter("database"), Some(&b"d"[..]));
        assert_eq!(read.extensions, [b"_pq_.x".to_vec()]);
    }

    #[test]
    fn a_startup_packet_without_its_terminator_is_refused() {
        assert_eq!(Packet::read(&startup(b"user\0u\0")), Err(Refused::Layout));
        assert_eq!(Packet::read(&startup(b"user\0u")), Err(Refused::Layout));
        assert_eq!(packet_len(&[0, 0, 0, 4], 100), Err(Refused::Length));
        assert_eq!(packet_len(&[0xff, 0, 0, 4], 100), Err(Refused::Length));
    }

    #[test]
    fn options_are_split_as_the_servers_command_line() {
        let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        assert_eq!(
            split_options(br"-c geqo=off --statement-timeout=5s  -csearch_path=a\ b"),
            Ok(vec![pair("geqo", "off"), pair("statement_timeout", "5s"), pair("search_path", "a b")])
        );
        let refused = |options: &[u8]| split_options(options).expect_err("refused");
        assert_eq!(refused(b"-d 5"), "invalid command-line argument for server process: -d");
        assert_eq!(refused(b"-c"), "invalid command-line argument for server process: -c");
        assert_eq!(refused(b"-c geqo"), "-c geqo requires a value");
        assert_eq!(refused(b"--geqo"), "--geqo requires a value");
    }
}
