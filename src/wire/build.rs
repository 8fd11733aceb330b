//! Building what pgweir itself says, to clients and to backends.
//!
//! Messages to clients are `pgwire`'s types; the few frames that the forward path makes are written by hand, because
//! they go into the buffer that is being filled.

use bytes::{Bytes, BytesMut};
use pgwire::messages::Message;
use pgwire::messages::response::{ErrorResponse, NoticeResponse};
use pgwire::messages::startup::{Authentication, BackendKeyData, NegotiateProtocolVersion, ParameterStatus, SecretKey};

use super::sqlstate;
use super::tag::{backend, client};
use super::view::Transaction;

pub const PARSE_COMPLETE: [u8; 5] = [backend::PARSE_COMPLETE, 0, 0, 0, 4];
pub const CLOSE_COMPLETE: [u8; 5] = [backend::CLOSE_COMPLETE, 0, 0, 0, 4];
pub const SYNC: [u8; 5] = [client::SYNC, 0, 0, 0, 4];
pub const TERMINATE: [u8; 5] = [client::TERMINATE, 0, 0, 0, 4];

/// Severity of an error: whether the connection lives on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    Error,
    Fatal,
}

/// An error that a client sees and that pgweir raised itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub severity: Severity,
    pub code: &'static str,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    /// Where in the statement the fault lies: its character, counted from 1.
    pub position: Option<usize>,
}

impl Fault {
    #[must_use]
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Error, code, message: message.into(), detail: None, hint: None, position: None }
    }

    #[must_use]
    pub fn fatal(code: &'static str, message: impl Into<String>) -> Self {
        Self { severity: Severity::Fatal, ..Self::error(code, message) }
    }

    /// The same, and the connection ends.
    #[must_use]
    pub fn into_fatal(self) -> Self {
        Self { severity: Severity::Fatal, ..self }
    }

    #[must_use]
    pub fn detail(self, detail: impl Into<String>) -> Self {
        Self { detail: Some(detail.into()), ..self }
    }

    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Names the character of the statement, counted from 1, that clients point at.
    #[must_use]
    pub fn at(self, position: usize) -> Self {
        Self { position: Some(position), ..self }
    }

    /// The ErrorResponse frame.
    #[must_use]
    pub fn to_frame(&self) -> Vec<u8> {
        let severity = match self.severity {
            Severity::Error => "ERROR",
            Severity::Fatal => "FATAL",
        };
        let mut fields =
            report_fields(severity, self.code, &self.message, self.detail.as_deref(), self.hint.as_deref());
        fields.extend(self.position.map(|position| (b'P', position.to_string())));
        encode(&ErrorResponse::new(fields))
    }
}

impl From<super::Malformed> for Fault {
    fn from(malformed: super::Malformed) -> Self {
        Self::fatal(sqlstate::PROTOCOL_VIOLATION, malformed.to_string())
    }
}

/// A NoticeResponse of severity NOTICE, of no particular condition.
#[must_use]
pub fn notice(message: &str) -> Vec<u8> {
    encode(&NoticeResponse::new(report_fields("NOTICE", "00000", message, None, None)))
}

/// A NoticeResponse of severity WARNING.
#[must_use]
pub fn warning(code: &str, message: &str) -> Vec<u8> {
    encode(&NoticeResponse::new(report_fields("WARNING", code, message, None, None)))
}

fn report_fields(
    severity: &str,
    code: &str,
    message: &str,
    detail: Option<&str>,
    hint: Option<&str>,
) -> Vec<(u8, String)> {
    let mut fields = Vec::with_capacity(6);
    for (kind, text) in [
        (b'S', Some(severity)),
        (b'V', Some(severity)),
        (b'C', Some(code)),
        (b'M', Some(message)),
        (b'D', detail),
        (b'H', hint),
    ] {
        // A zero byte would end the field early and shift what follows.
        fields.extend(text.map(|text| (kind, text.replace('\0', " "))));
    }
    fields
}

/// AuthenticationOk.
#[must_use]
pub fn authentication_ok() -> Vec<u8> {
    encode(&Authentication::Ok)
}

/// AuthenticationCleartextPassword.
#[must_use]
pub fn ask_password() -> Vec<u8> {
    encode(&Authentication::CleartextPassword)
}

/// AuthenticationMD5Password.
#[must_use]
pub fn ask_md5(salt: [u8; 4]) -> Vec<u8> {
    encode(&Authentication::MD5Password(salt.to_vec()))
}

/// AuthenticationSASL with the mechanisms offered.
#[must_use]
pub fn ask_sasl(mechanisms: &[&str]) -> Vec<u8> {
    encode(&Authentication::SASL(mechanisms.iter().map(|name| (*name).to_owned()).collect()))
}

/// AuthenticationSASLContinue.
#[must_use]
pub fn sasl_continue(data: Vec<u8>) -> Vec<u8> {
    encode(&Authentication::SASLContinue(Bytes::from(data)))
}

/// AuthenticationSASLFinal.
#[must_use]
pub fn sasl_final(data: Vec<u8>) -> Vec<u8> {
    encode(&Authentication::SASLFinal(Bytes::from(data)))
}

/// ParameterStatus of text; values in another encoding go through [`parameter_status_raw`].
#[must_use]
pub fn parameter_status(name: &str, value: &str) -> Vec<u8> {
    encode(&ParameterStatus::new(name.to_owned(), value.to_owned()))
}

/// Appends a ParameterStatus of bytes as a backend sent them.
pub fn parameter_status_raw(to: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    write_frame(to, backend::PARAMETER_STATUS, |to| {
        write_cstr(to, name);
        write_cstr(to, value);
    });
}

/// BackendKeyData with a key of any length that the protocol allows.
#[must_use]
pub fn backend_key_data(pid: i32, key: &[u8]) -> Vec<u8> {
    encode(&BackendKeyData::new(pid, SecretKey::Bytes(Bytes::copy_from_slice(key))))
}

/// NegotiateProtocolVersion: the newest minor version that we speak and the options we do not know.
#[must_use]
pub fn negotiate_protocol(minor: u16, unknown: &[Vec<u8>]) -> Vec<u8> {
    let unknown = unknown.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    encode(&NegotiateProtocolVersion::new((3 << 16) | i32::from(minor), unknown))
}

/// Appends a NotificationResponse.
pub fn notification_response(to: &mut Vec<u8>, pid: i32, channel: &[u8], payload: &[u8]) {
    write_frame(to, backend::NOTIFICATION_RESPONSE, |to| {
        to.extend_from_slice(&pid.to_be_bytes());
        write_cstr(to, channel);
        write_cstr(to, payload);
    });
}

/// ReadyForQuery.
#[must_use]
pub fn ready_for_query(status: Transaction) -> [u8; 6] {
    [backend::READY_FOR_QUERY, 0, 0, 0, 5, status.byte()]
}

fn encode(message: &impl Message) -> Vec<u8> {
    let mut buffer = BytesMut::with_capacity(64);
    // Encoding fails only for bodies above 2 GB and keys that the protocol forbids; neither is built here.
    message.encode(&mut buffer).map_or_else(|_| Vec::new(), |()| buffer.to_vec())
}

/// Appends a Query.
pub fn write_query(to: &mut Vec<u8>, text: &[u8]) {
    write_frame(to, client::QUERY, |to| write_cstr(to, text));
}

/// Appends a Parse; `types` holds the count and the OIDs as a client sent them.
pub fn write_parse(to: &mut Vec<u8>, name: &[u8], text: &[u8], types: &[u8]) {
    write_frame(to, client::PARSE, |to| {
        write_cstr(to, name);
        write_cstr(to, text);
        to.extend_from_slice(types);
    });
}

/// Appends the header of a Bind and its two names; `rest` bytes of values and formats must follow.
pub fn write_bind_head(to: &mut Vec<u8>, portal: &[u8], statement: &[u8], rest: usize) {
    let length = 4 + portal.len() + statement.len() + 2 + rest;
    to.push(client::BIND);
    to.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    write_cstr(to, portal);
    write_cstr(to, statement);
}

/// Appends a Describe of a statement.
pub fn write_describe_statement(to: &mut Vec<u8>, name: &[u8]) {
    write_named(to, client::DESCRIBE, name);
}

/// Appends an Execute of all rows.
pub fn write_execute(to: &mut Vec<u8>, portal: &[u8]) {
    write_frame(to, client::EXECUTE, |to| {
        write_cstr(to, portal);
        to.extend_from_slice(&[0; 4]);
    });
}

/// Appends a Close of a portal.
pub fn write_close_portal(to: &mut Vec<u8>, name: &[u8]) {
    write_frame(to, client::CLOSE, |to| {
        to.push(b'P');
        write_cstr(to, name);
    });
}

/// Appends a Close of a statement.
pub fn write_close_statement(to: &mut Vec<u8>, name: &[u8]) {
    write_named(to, client::CLOSE, name);
}

fn write_named(to: &mut Vec<u8>, tag: u8, name: &[u8]) {
    write_frame(to, tag, |to| {
        to.push(b'S');
        write_cstr(to, name);
    });
}

/// Appends a password-family frame: PasswordMessage, SASLResponse.
pub fn write_password(to: &mut Vec<u8>, body: &[u8]) {
    copy_frame(to, client::PASSWORD, body);
}

/// Appends a frame with this body.
pub fn copy_frame(to: &mut Vec<u8>, tag: u8, body: &[u8]) {
    write_frame(to, tag, |to| to.extend_from_slice(body));
}

/// Appends a frame whose body `fill` writes.
pub fn write_frame(to: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    to.push(tag);
    let start = to.len();
    to.extend_from_slice(&[0; 4]);
    fill(to);
    write_length(to, start);
}

/// CopyFail: the client's COPY fails with these words.
#[must_use]
pub fn copy_fail(reason: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    write_frame(&mut frame, client::COPY_FAIL, |to| write_cstr(to, reason.as_bytes()));
    frame
}

fn write_cstr(to: &mut Vec<u8>, text: &[u8]) {
    to.extend_from_slice(text);
    to.push(0);
}

/// Fills in the length of a frame or packet whose length field is at `start`.
pub(super) fn write_length(to: &mut [u8], start: usize) {
    let length = u32::try_from(to.len() - start).unwrap_or(u32::MAX).to_be_bytes();
    if let Some(field) = to.get_mut(start..start + 4) {
        field.copy_from_slice(&length);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Header;
    use super::super::view::{Bind, Parse, Report};
    use super::*;

    #[test]
    fn a_fault_becomes_an_error_response_with_all_its_fields() {
        let frame = Fault::fatal("57P01", "bye\0now").hint("come back").at(7).to_frame();
        let header = Header::read(&frame, 1000).expect("valid").expect("whole");
        assert_eq!((header.tag, header.frame()), (b'E', frame.len()));
        let report = Report::read(&frame[5..]);
        assert!(report.is_fatal());
        assert_eq!((report.code, report.message), (&b"57P01"[..], &b"bye now"[..]));
        assert!(frame.windows(10).any(|bytes| bytes == b"Hcome back"));
        assert!(frame.windows(3).any(|bytes| bytes == b"P7\0"));
    }

    #[test]
    fn written_frames_read_back() {
        let mut frames = Vec::new();
        write_parse(&mut frames, b"s", b"select 1", b"\0\0");
        let header = Header::read(&frames, 1000).expect("valid").expect("whole");
        assert_eq!(header.frame(), frames.len());
        assert_eq!(Parse::read(&frames[5..]).expect("parse").text, b"select 1");
        let mut frames = Vec::new();
        write_bind_head(&mut frames, b"p", b"s", 3);
        assert_eq!(Header::read(&frames, 1000).expect("valid").expect("whole").frame(), frames.len() + 3);
        assert_eq!(Bind::read(&frames[5..]).expect("bind").statement, b"s");
    }

    #[test]
    fn a_key_of_protocol_3_2_keeps_its_length() {
        assert_eq!(backend_key_data(7, &[1; 32]).len(), 5 + 4 + 32);
        assert_eq!(backend_key_data(7, &[1; 4]).len(), 5 + 4 + 4);
    }
}
