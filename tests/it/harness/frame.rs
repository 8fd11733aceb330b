//! Frames as tests write and read them: builders for what a client sends, names and summaries for what it gets.
//! Written apart from the program's own `wire` on purpose: a mistake there must not hide itself here.

use std::fmt;

use bytes::{BufMut as _, Bytes, BytesMut};

/// One message from the server, or the end of the stream.
#[derive(Clone, PartialEq, Eq)]
pub enum Frame {
    /// Tag and body, without the length.
    Message(u8, Bytes),
    /// The single byte that answers SSLRequest and GSSENCRequest.
    Answer(u8),
    /// The server closed the connection.
    End,
}

/// What the server may send, by tag (protocol manual, section 55.7).
const NAMES: &[(u8, &str)] = &[
    (b'1', "ParseComplete"),
    (b'2', "BindComplete"),
    (b'3', "CloseComplete"),
    (b'A', "NotificationResponse"),
    (b'C', "CommandComplete"),
    (b'D', "DataRow"),
    (b'E', "ErrorResponse"),
    (b'G', "CopyInResponse"),
    (b'H', "CopyOutResponse"),
    (b'I', "EmptyQueryResponse"),
    (b'K', "BackendKeyData"),
    (b'N', "NoticeResponse"),
    (b'R', "Authentication"),
    (b'S', "ParameterStatus"),
    (b'T', "RowDescription"),
    (b'V', "FunctionCallResponse"),
    (b'W', "CopyBothResponse"),
    (b'Z', "ReadyForQuery"),
    (b'c', "CopyDone"),
    (b'd', "CopyData"),
    (b'n', "NoData"),
    (b's', "PortalSuspended"),
    (b't', "ParameterDescription"),
    (b'v', "NegotiateProtocolVersion"),
];

impl Frame {
    /// The name in the protocol manual.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::End => "End".to_owned(),
            Self::Answer(_) => "Answer".to_owned(),
            Self::Message(tag, _) => NAMES
                .iter()
                .find(|(known, _)| known == tag)
                .map_or_else(|| format!("Unknown{tag:#04x}"), |(_, name)| (*name).to_owned()),
        }
    }

    /// Tag, or 0 for what is no message.
    #[must_use]
    pub fn tag(&self) -> u8 {
        match self {
            Self::Message(tag, _) => *tag,
            Self::Answer(_) | Self::End => 0,
        }
    }

    /// Body, empty for what is no message.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        match self {
            Self::Message(_, body) => body,
            Self::Answer(_) | Self::End => &[],
        }
    }

    /// Name and essence: `DataRow(7, null)`, `CommandComplete(SELECT 1)`, `ErrorResponse(26000)`, `ReadyForQuery(I)`.
    #[must_use]
    pub fn summary(&self) -> String {
        match self.essence() {
            Some(essence) => format!("{}({essence})", self.name()),
            None => self.name(),
        }
    }

    fn essence(&self) -> Option<String> {
        let body = self.body();
        match self {
            Self::End => None,
            Self::Answer(byte) => Some(char::from(*byte).to_string()),
            Self::Message(tag, _) => match tag {
                b'C' => Some(text(body.strip_suffix(b"\0").unwrap_or(body))),
                b'Z' => Some(text(body)),
                b'E' | b'N' => self.field(b'C'),
                b'D' => Some(row(body).iter().map(cell).collect::<Vec<_>>().join(", ")),
                b'T' => Some(columns(body).join(", ")),
                b't' => Some(oids(body)),
                b'S' => {
                    let mut parts = body.split(|byte| *byte == 0).map(text);
                    Some(format!("{}={}", parts.next()?, parts.next()?))
                }
                b'A' => {
                    let mut parts = body.get(4..)?.split(|byte| *byte == 0).map(text);
                    Some(format!("{}, {}", parts.next()?, parts.next()?))
                }
                b'R' => Some(int(body, 0)?.to_string()),
                b'd' => Some(text(body)),
                b'V' => Some(if int(body, 0)? < 0 { "null".to_owned() } else { text(body.get(4..)?) }),
                _ => None,
            },
        }
    }

    /// A field of an ErrorResponse or NoticeResponse by its letter (protocol manual, section 55.8).
    #[must_use]
    pub fn field(&self, letter: u8) -> Option<String> {
        self.body()
            .split(|byte| *byte == 0)
            .find(|field| field.first() == Some(&letter))
            .map(|field| String::from_utf8_lossy(&field[1..]).into_owned())
    }

    /// The values of a DataRow as text.
    #[must_use]
    pub fn cells(&self) -> Vec<Option<String>> {
        row(self.body())
            .into_iter()
            .map(|value| value.map(|bytes| String::from_utf8_lossy(bytes).into_owned()))
            .collect()
    }

    /// Everything, for the reader of a failed test: fields of errors by letter, else a dump of the first bytes.
    #[must_use]
    pub fn detail(&self) -> String {
        let body = self.body();
        if matches!(self.tag(), b'E' | b'N') {
            let fields = body.split(|byte| *byte == 0).filter(|field| !field.is_empty());
            return fields.map(|field| format!("{}={} ", char::from(field[0]), up_to(400, &field[1..]))).collect();
        }
        let shown = &body[..body.len().min(96)];
        let more = if shown.len() < body.len() { format!(" … {} bytes", body.len()) } else { String::new() };
        format!("{:?} {}{more}", char::from(self.tag()), shown.escape_ascii())
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.tag() {
            b'E' | b'N' => write!(f, "{} {}", self.name(), self.detail()),
            _ => f.write_str(&self.summary()),
        }
    }
}

fn int(body: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_be_bytes(body.get(at..at + 4)?.try_into().ok()?))
}

fn text(bytes: &[u8]) -> String {
    up_to(80, bytes)
}

fn up_to(most: usize, bytes: &[u8]) -> String {
    if bytes.len() > most {
        return format!("<{} bytes>", bytes.len());
    }
    let escaped = |character: char| match character {
        '\\' => "\\\\".to_owned(),
        _ if character.is_control() => character.escape_debug().to_string(),
        _ => character.to_string(),
    };
    String::from_utf8_lossy(bytes).chars().map(escaped).collect()
}

fn cell(value: &Option<&[u8]>) -> String {
    value.map_or_else(|| "null".to_owned(), text)
}

fn row(body: &[u8]) -> Vec<Option<&[u8]>> {
    let mut rest = body.get(2..).unwrap_or_default();
    let mut cells = Vec::new();
    while let Some(length) = int(rest, 0) {
        rest = &rest[4..];
        let taken = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
        cells.push(taken.map(|(value, _)| value));
        rest = taken.map_or(rest, |(_, after)| after);
    }
    cells
}

fn columns(body: &[u8]) -> Vec<String> {
    let mut rest = body.get(2..).unwrap_or_default();
    let mut names = Vec::new();
    while let Some(end) = rest.iter().position(|byte| *byte == 0) {
        names.push(text(&rest[..end]));
        rest = rest.get(end + 19..).unwrap_or_default();
    }
    names
}

fn oids(body: &[u8]) -> String {
    let oids = body.get(2..).unwrap_or_default().chunks(4).filter_map(|oid| int(oid, 0));
    oids.map(|oid| oid.to_string()).collect::<Vec<_>>().join(", ")
}

/// A message of a client: tag, length, body.
#[must_use]
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&packet(body));
    bytes
}

/// A packet without tag: length, body. Startup, SSLRequest, CancelRequest.
#[must_use]
pub fn packet(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).expect("a packet's length fits 32 bits");
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

/// A StartupMessage of protocol `major.minor` with these parameters.
#[must_use]
pub fn startup(major: u16, minor: u16, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_u16(major);
    body.put_u16(minor);
    for (name, value) in parameters {
        string(&mut body, name.as_bytes());
        string(&mut body, value.as_bytes());
    }
    body.put_u8(0);
    packet(&body)
}

/// SSLRequest.
#[must_use]
pub fn ssl_request() -> Vec<u8> {
    packet(&80_877_103_u32.to_be_bytes())
}

/// GSSENCRequest.
#[must_use]
pub fn gss_request() -> Vec<u8> {
    packet(&80_877_104_u32.to_be_bytes())
}

/// CancelRequest for the body of a BackendKeyData.
#[must_use]
pub fn cancel_request(key_data: &[u8]) -> Vec<u8> {
    let mut body = 80_877_102_u32.to_be_bytes().to_vec();
    body.extend_from_slice(key_data);
    packet(&body)
}

/// Query.
#[must_use]
pub fn query(sql: &str) -> Vec<u8> {
    let mut body = BytesMut::new();
    string(&mut body, sql.as_bytes());
    message(b'Q', &body)
}

/// Parse, with parameter types by OID.
#[must_use]
pub fn parse(name: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = BytesMut::new();
    string(&mut body, name.as_bytes());
    string(&mut body, sql.as_bytes());
    body.put_u16(count(types.len()));
    for oid in types {
        body.put_u32(*oid);
    }
    message(b'P', &body)
}

/// Bind with the formats of parameters and results.
#[must_use]
pub fn bind_with(portal: &str, statement: &str, formats: &[u16], values: &[Option<Bytes>], results: &[u16]) -> Vec<u8> {
    let mut body = BytesMut::new();
    string(&mut body, portal.as_bytes());
    string(&mut body, statement.as_bytes());
    numbers(&mut body, formats);
    arguments(&mut body, values);
    numbers(&mut body, results);
    message(b'B', &body)
}

/// Bind of text values.
#[must_use]
pub fn bind(portal: &str, statement: &str, values: &[&str]) -> Vec<u8> {
    let values: Vec<_> = values.iter().map(|value| Some(Bytes::copy_from_slice(value.as_bytes()))).collect();
    bind_with(portal, statement, &[], &values, &[])
}

/// Execute; `limit` 0 is no limit.
#[must_use]
pub fn execute(portal: &str, limit: u32) -> Vec<u8> {
    let mut body = BytesMut::new();
    string(&mut body, portal.as_bytes());
    body.put_u32(limit);
    message(b'E', &body)
}

/// Describe (`D`) or Close (`C`) of a statement (`S`) or portal (`P`).
#[must_use]
pub fn named(tag: u8, kind: u8, name: &str) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_u8(kind);
    string(&mut body, name.as_bytes());
    message(tag, &body)
}

/// FunctionCall.
#[must_use]
pub fn function_call(oid: u32, formats: &[u16], values: &[Option<Bytes>], result: u16) -> Vec<u8> {
    let mut body = BytesMut::new();
    body.put_u32(oid);
    numbers(&mut body, formats);
    arguments(&mut body, values);
    body.put_u16(result);
    message(b'F', &body)
}

/// Sync.
#[must_use]
pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

/// Flush.
#[must_use]
pub fn flush() -> Vec<u8> {
    message(b'H', &[])
}

/// Terminate.
#[must_use]
pub fn terminate() -> Vec<u8> {
    message(b'X', &[])
}

fn string(body: &mut BytesMut, bytes: &[u8]) {
    body.put_slice(bytes);
    body.put_u8(0);
}

fn numbers(body: &mut BytesMut, values: &[u16]) {
    body.put_u16(count(values.len()));
    for value in values {
        body.put_u16(*value);
    }
}

fn arguments(body: &mut BytesMut, values: &[Option<Bytes>]) {
    body.put_u16(count(values.len()));
    for value in values {
        match value {
            Some(bytes) => {
                body.put_u32(u32::try_from(bytes.len()).expect("a value's length fits 32 bits"));
                body.put_slice(bytes);
            }
            None => body.put_i32(-1),
        }
    }
}

fn count(length: usize) -> u16 {
    u16::try_from(length).expect("a count fits 16 bits")
}
