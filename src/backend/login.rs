//! Our login to PostgreSQL (manual: "Start-up"): trust, password, md5 and SCRAM-SHA-256, with a password or with the
//! keys that a client's own login revealed.

use std::io;
use std::sync::Arc;

use super::dialer::{Endpoint, Login};
use super::{Refusal, Report, talk};
use crate::auth::{MECHANISM, Nonce, ScramClient, ScramKeys, md5_password};
use crate::net::Stream;
use crate::wire::startup::CancelSecret;
use crate::wire::tag::backend;
use crate::wire::{build, startup, view};

/// What PostgreSQL told us at login.
#[derive(Debug, Default)]
pub struct LoggedIn {
    pub pid: i32,
    pub key: CancelSecret,
    /// ParameterStatus in the order they came.
    pub statuses: Vec<(Box<[u8]>, Box<[u8]>)>,
    /// What it warned of, frame by frame, as that a database's collation has another version by now.
    pub notices: Vec<u8>,
}

/// Starts a session and authenticates; returns at the first ReadyForQuery.
pub(super) async fn login(
    stream: &mut Stream,
    target: &Endpoint,
    login: &Login,
    parameters: &[(&[u8], &[u8])],
    host: &str,
) -> Result<LoggedIn, Refusal> {
    let lost = |error: io::Error| Refusal::Unreachable { host: host.to_owned(), reason: Arc::new(error) };
    let mut packet = Vec::new();
    let own = [(&b"user"[..], target.user.as_bytes()), (b"database", target.dbname.as_bytes())];
    let all: Vec<_> = own.iter().chain(parameters).copied().collect();
    startup::write_startup(&mut packet, &all);
    talk::send(stream, &packet).await.map_err(lost)?;
    let mut logged_in = LoggedIn::default();
    loop {
        let (tag, body) = talk::read_frame(stream).await.map_err(lost)?;
        match tag {
            backend::AUTHENTICATION => authenticate(stream, target, login, &body, host).await?,
            backend::BACKEND_KEY_DATA => {
                let (pid, key) = view::backend_key_data(&body).map_err(|fault| lost(io::Error::other(fault)))?;
                (logged_in.pid, logged_in.key) = (pid, key.into());
            }
            backend::PARAMETER_STATUS => {
                let (name, value) = view::parameter_status(&body).map_err(|fault| lost(io::Error::other(fault)))?;
                logged_in.statuses.push((name.into(), value.into()));
            }
            backend::ERROR_RESPONSE => return Err(Refusal::Report(Arc::new(Report::new(&body)))),
            backend::READY_FOR_QUERY => return Ok(logged_in),
            backend::NOTICE_RESPONSE => build::copy_frame(&mut logged_in.notices, tag, &body),
            backend::NEGOTIATE_PROTOCOL_VERSION => {}
            tag => return Err(lost(io::Error::other(format!("unexpected message {:?} at login", char::from(tag))))),
        }
    }
}

/// Answers one authentication request.
async fn authenticate(
    stream: &mut Stream,
    target: &Endpoint,
    login: &Login,
    request: &[u8],
    host: &str,
) -> Result<(), Refusal> {
    let lost = |error: io::Error| Refusal::Unreachable { host: host.to_owned(), reason: Arc::new(error) };
    let refuse = |reason: &str| Refusal::Login { user: target.user.clone(), reason: reason.to_owned() };
    let Some((kind, rest)) = request.split_first_chunk::<4>() else {
        return Err(refuse("malformed authentication request"));
    };
    let mut answer = Vec::new();
    match (u32::from_be_bytes(*kind), login) {
        (0, _) => return Ok(()),
        (3, Login::Password(password)) => {
            build::write_password(&mut answer, &terminated(password.reveal().as_bytes()));
        }
        (5, login) => {
            let salt = rest.try_into().map_err(|_| refuse("malformed md5 request"))?;
            let text = match login {
                Login::Password(password) => md5_password(&target.user, password.reveal(), salt),
                Login::Md5Hash(hash) => hash.answer(salt),
                _ => return Err(refuse("PostgreSQL asks for an md5 password, and none is configured for this user")),
            };
            build::write_password(&mut answer, &terminated(text.as_bytes()));
        }
        (10, login) => {
            let keys = match login {
                Login::Password(password) => ScramKeys::Password(password.clone()),
                Login::Keys(keys) => keys.clone(),
                Login::Md5Hash(_) => {
                    return Err(refuse("PostgreSQL asks for SCRAM, and only an md5 hash is configured"));
                }
                Login::None => {
                    return Err(refuse("PostgreSQL asks for a password, and none is configured for this user"));
                }
            };
            if !rest.split(|byte| *byte == 0).any(|name| name == MECHANISM.as_bytes()) {
                return Err(refuse("PostgreSQL offers no SCRAM-SHA-256"));
            }
            return scram(stream, keys, &lost, &refuse).await;
        }
        (3, _) => return Err(refuse("PostgreSQL asks for a password, and none is configured for this user")),
        (kind, _) => {
            return Err(refuse(&format!("PostgreSQL asks for authentication method {kind}, which is not supported")));
        }
    }
    talk::send(stream, &answer).await.map_err(lost)
}

async fn scram(
    stream: &mut Stream,
    keys: ScramKeys,
    lost: &impl Fn(io::Error) -> Refusal,
    refuse: &impl Fn(&str) -> Refusal,
) -> Result<(), Refusal> {
    let fault = |fault: crate::auth::AuthFault| refuse(&fault.to_string());
    let mut exchange = ScramClient::new(keys, Nonce::random().map_err(fault)?);
    let first = exchange.first();
    let mut message = terminated(MECHANISM.as_bytes());
    message.extend_from_slice(&u32::try_from(first.len()).unwrap_or(u32::MAX).to_be_bytes());
    message.extend_from_slice(&first);
    let challenge = sasl_step(stream, &message, 11, lost, refuse).await?;
    let response = exchange.respond(&challenge).map_err(fault)?;
    let outcome = sasl_step(stream, &response, 12, lost, refuse).await?;
    exchange.verify(&outcome).map_err(fault)
}

/// Sends one SASL message; the data of the answer, which must be of the kind `expected`.
async fn sasl_step(
    stream: &mut Stream,
    message: &[u8],
    expected: u32,
    lost: &impl Fn(io::Error) -> Refusal,
    refuse: &impl Fn(&str) -> Refusal,
) -> Result<Vec<u8>, Refusal> {
    let mut frame = Vec::new();
    build::write_password(&mut frame, message);
    talk::send(stream, &frame).await.map_err(lost)?;
    loop {
        let (tag, body) = talk::read_frame(stream).await.map_err(lost)?;
        match (tag, body.split_first_chunk::<4>()) {
            (backend::AUTHENTICATION, Some((kind, data))) if u32::from_be_bytes(*kind) == expected => {
                return Ok(data.to_vec());
            }
            (backend::ERROR_RESPONSE, _) => return Err(Refusal::Report(Arc::new(Report::new(&body)))),
            (backend::NOTICE_RESPONSE, _) => {}
            _ => return Err(refuse("PostgreSQL broke off the SCRAM exchange")),
        }
    }
}

fn terminated(text: &[u8]) -> Vec<u8> {
    let mut text = text.to_vec();
    text.push(0);
    text
}
