//! Who a client is (manual: "Start-up", authentication messages).

use std::io;

use tokio::io::AsyncWriteExt;

use super::Server;
use super::handshake::{Caller, Failed};
use crate::auth::{self, AuthFault, ClientKey, Credential, Nonce, ScramKeys, verify_md5};
use crate::config::AuthMethod;
use crate::net::Stream;
use crate::wire::build::{self, Fault};
use crate::wire::scan::HEADER;
use crate::wire::tag::client;
use crate::wire::view::split_cstr;
use crate::wire::{Header, sqlstate};

/// Longest answer to an authentication request, in bytes: PostgreSQL's own limit (`PG_MAX_AUTH_TOKEN_LENGTH`).
const LONGEST_ANSWER: usize = 65_535;

/// A client that has proved who it is.
#[derive(Debug)]
pub(super) struct Identified {
    pub(super) credential: Credential,
    /// What logs in to PostgreSQL where the same secret is stored there.
    pub(super) keys: Option<ScramKeys>,
}

/// Why a login fails: what the client is told, and what only the log is told.
struct Denied {
    fault: Fault,
    reason: String,
    /// The client has gone, as one does that only wanted to know whether somebody is there.
    gone: bool,
}

impl From<io::Error> for Denied {
    fn from(error: io::Error) -> Self {
        Self {
            fault: Fault::fatal(sqlstate::CONNECTION_FAILURE, "connection lost"),
            reason: error.to_string(),
            gone: true,
        }
    }
}

/// Authenticates a client that calls itself `user`, with what is `known` of that user.
pub(super) async fn log_in(
    mut caller: Caller,
    server: &Server,
    user: &str,
    known: Option<Credential>,
) -> Result<(Caller, Identified), Failed> {
    let method = known.as_ref().map_or(server.config.current().listen.auth, |known| known.method);
    let proved = tokio::select! {
        proved = prove(&mut caller, server, user, known.as_ref(), method) => proved,
        shutting_down = server.refuses() => return Err(Failed::told(caller.stream, shutting_down)),
    };
    match proved {
        Ok(key) => match known {
            Some(credential) => {
                let keys = key.zip(credential.scram.as_ref()).map(|(key, secret)| ScramKeys::pass_through(key, secret));
                Ok((caller, Identified { credential, keys }))
            }
            None => Err(Failed::told(caller.stream, denied(user))),
        },
        Err(Denied { fault, reason, gone }) => {
            let (peer, method) = (caller.stream.peer(), method.word());
            if gone {
                tracing::debug!(user, %peer, method, reason, "a client has gone before it logged in");
            } else {
                tracing::warn!(user, %peer, method, reason, "login failed");
            }
            Err(Failed::told(caller.stream, fault))
        }
    }
}

async fn prove(
    caller: &mut Caller,
    server: &Server,
    user: &str,
    known: Option<&Credential>,
    method: AuthMethod,
) -> Result<Option<ClientKey>, Denied> {
    let wrong = |reason: &str| Denied {
        fault: denied(user),
        reason: if known.is_none() { format!("no such user ({reason})") } else { reason.to_owned() },
        gone: false,
    };
    match method {
        AuthMethod::Trust if caller.stream.is_loopback() || server.config.current().listen.allow_remote_trust => {
            if known.is_some() {
                Ok(None)
            } else {
                Err(wrong("trust"))
            }
        }
        AuthMethod::Trust => Err(Denied {
            fault: Fault::fatal(
                sqlstate::INVALID_AUTHORIZATION,
                "trust authentication is for clients on this machine only",
            ),
            reason: "trust from another machine, and listen.allow_remote_trust is off".to_owned(),
            gone: false,
        }),
        AuthMethod::Cert => {
            let name = caller.stream.peer_certificate_name();
            if known.is_some() && name.as_deref() == Some(user) {
                return Ok(None);
            }
            let shown =
                name.map_or_else(|| "no certificate".to_owned(), |name| format!("a certificate for \"{name}\""));
            Err(Denied {
                fault: Fault::fatal(
                    sqlstate::INVALID_AUTHORIZATION,
                    format!("certificate authentication failed for user \"{user}\""),
                ),
                reason: format!("the client showed {shown}"),
                gone: false,
            })
        }
        AuthMethod::Password => {
            send(&mut caller.stream, &build::ask_password()).await?;
            let answer = answer(caller).await?;
            let password = password_in(&answer).ok_or_else(oversized)?;
            Credential::verify_password(known, user, password, &server.mock).map_err(|fault| wrong(&fault.to_string()))
        }
        AuthMethod::Md5 => {
            let salt = auth::random().map_err(|fault| internal(&fault))?;
            send(&mut caller.stream, &build::ask_md5(salt)).await?;
            let answer = answer(caller).await?;
            let text = password_in(&answer).ok_or_else(oversized)?;
            let stored = known.and_then(|known| known.stored.as_ref());
            if verify_md5(stored, user, salt, text) { Ok(None) } else { Err(wrong("password does not match")) }
        }
        AuthMethod::ScramSha256 => scram(caller, server, user, known).await.map(Some).map_err(|failed| match failed {
            ScramFailed::Denied(denied) => denied,
            ScramFailed::Fault(fault) if fault.is_protocol_violation() => violation(&fault.to_string()),
            ScramFailed::Fault(fault) => wrong(&fault.to_string()),
        }),
    }
}

enum ScramFailed {
    Denied(Denied),
    Fault(AuthFault),
}

impl From<AuthFault> for ScramFailed {
    fn from(fault: AuthFault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Denied> for ScramFailed {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<io::Error> for ScramFailed {
    fn from(error: io::Error) -> Self {
        Self::Denied(error.into())
    }
}

async fn scram(
    caller: &mut Caller,
    server: &Server,
    user: &str,
    known: Option<&Credential>,
) -> Result<ClientKey, ScramFailed> {
    let mut exchange =
        Credential::scram_server(known, user, &server.mock, Nonce::random()?).within(caller.channel.clone());
    send(&mut caller.stream, &build::ask_sasl(exchange.mechanisms())).await?;
    let initial = answer(caller).await?;
    let (mechanism, rest) = split_cstr(&initial).ok_or_else(|| violation("malformed SASL message"))?;
    let first = match rest.split_first_chunk::<4>() {
        Some((length, data)) if usize::try_from(u32::from_be_bytes(*length)) == Ok(data.len()) => data,
        _ => return Err(violation("malformed SASL message").into()),
    };
    let challenge = exchange.first(mechanism, first)?;
    send(&mut caller.stream, &build::sasl_continue(challenge)).await?;
    let response = answer(caller).await?;
    let (outcome, key) = exchange.finish(&response)?;
    send(&mut caller.stream, &build::sasl_final(outcome)).await?;
    Ok(key)
}

/// Reads the client's answer to an authentication request.
async fn answer(caller: &mut Caller) -> Result<Vec<u8>, Denied> {
    let head = caller.read(HEADER).await?;
    let header = Header::read(&head, LONGEST_ANSWER).map_err(|fault| violation(&fault.to_string()))?;
    let Some(header) = header.filter(|header| header.tag == client::PASSWORD) else {
        let tag = head.first().copied().unwrap_or_default();
        return Err(violation(&format!("expected password response, got message type {tag}")));
    };
    Ok(caller.read(header.body).await?)
}

async fn send(stream: &mut Stream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes).await?;
    stream.flush().await
}

/// One text for an unknown user and a wrong password.
fn denied(user: &str) -> Fault {
    Fault::fatal(sqlstate::INVALID_PASSWORD, format!("password authentication failed for user \"{user}\""))
}

/// The only text of a PasswordMessage (manual: "Message Formats").
fn password_in(answer: &[u8]) -> Option<&[u8]> {
    split_cstr(answer).filter(|(_, rest)| rest.is_empty()).map(|(password, _)| password)
}

fn oversized() -> Denied {
    violation("invalid password packet size")
}

fn violation(reason: &str) -> Denied {
    Denied { fault: Fault::fatal(sqlstate::PROTOCOL_VIOLATION, reason), reason: reason.to_owned(), gone: false }
}

fn internal(fault: &AuthFault) -> Denied {
    Denied {
        fault: Fault::fatal("XX000", "authentication is not possible now"),
        reason: fault.to_string(),
        gone: false,
    }
}
