//! A conversation with PostgreSQL outside any session: whole frames, one after the other.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use crate::net::Stream;
use crate::wire::build::copy_frame;
use crate::wire::scan::HEADER;
use crate::wire::tag::backend;
use crate::wire::{Header, view};

/// Longest message that is taken outside a session, in bytes.
const LIMIT: usize = 1 << 20;

/// A whole frame: its tag and its body.
pub(super) type Owned = (u8, Vec<u8>);

/// Reads one frame. Not cancel safe: a backend whose conversation was cut must be closed.
///
/// # Errors
/// The connection's end or failure, or a length that no message may have.
pub(super) async fn read_frame(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Owned> {
    let mut head = [0; HEADER];
    stream.read_exact(&mut head).await?;
    let header = Header::read(&head, LIMIT)
        .map_err(|malformed| io::Error::new(io::ErrorKind::InvalidData, malformed))?
        .ok_or(io::ErrorKind::UnexpectedEof)?;
    let mut body = vec![0; header.body];
    stream.read_exact(&mut body).await?;
    Ok((header.tag, body))
}

/// Sends `bytes` at once.
pub(super) async fn send(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// What came before a ReadyForQuery that said idle.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// The first ErrorResponse's body.
    pub(super) error: Option<Vec<u8>>,
    /// The first row of text values.
    pub(super) row: Option<Vec<Option<Vec<u8>>>>,
    /// ParameterStatus in the order they came.
    pub(super) statuses: Vec<(Vec<u8>, Vec<u8>)>,
    /// NoticeResponses, frame by frame.
    pub(super) notices: Vec<u8>,
}

/// Sends messages that end in one ReadyForQuery and reads up to it.
///
/// # Errors
/// A lost connection, a FATAL error, or a transaction that is open afterwards.
pub(super) async fn ask(stream: &mut Stream, message: &[u8]) -> io::Result<Answer> {
    send(stream, message).await?;
    let mut answer = Answer::default();
    loop {
        let (tag, body) = read_frame(stream).await?;
        match tag {
            backend::READY_FOR_QUERY if body == b"I" => return Ok(answer),
            backend::READY_FOR_QUERY => return Err(io::Error::other("a transaction was left open")),
            backend::ERROR_RESPONSE => {
                let report = view::Report::read(&body);
                if report.is_fatal() {
                    return Err(io::Error::other(String::from_utf8_lossy(report.message).into_owned()));
                }
                answer.error.get_or_insert(body);
            }
            backend::PARAMETER_STATUS => {
                if let Ok((name, value)) = view::parameter_status(&body) {
                    answer.statuses.push((name.to_vec(), value.to_vec()));
                }
            }
            backend::NOTICE_RESPONSE => copy_frame(&mut answer.notices, tag, &body),
            backend::DATA_ROW if answer.row.is_none() => {
                let row = view::data_row(&body).map_err(io::Error::other)?;
                answer.row = Some(row.into_iter().map(|value| value.map(<[u8]>::to_vec)).collect());
            }
            _ => {}
        }
    }
}
