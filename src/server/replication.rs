//! Replication connections: each has a backend of its own, and both ends' bytes pass as they are (manual:
//! "Streaming Replication Protocol").

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::handshake::Caller;
use super::routes::{Routes, login_of};
use crate::auth::{BackendCredential, ScramKeys};
use crate::backend::connect::{self, Connected};
use crate::backend::{CancelKey, Endpoint, Login, cancel};
use crate::clients::{Backend, Client, Signal};
use crate::config::Config;
use crate::net::Stream;
use crate::proxy;
use crate::wire::build::{self, Fault};
use crate::wire::sqlstate;
use crate::wire::startup::Startup;

/// Bytes moved at a time.
const CHUNK: usize = 64 * 1024;

/// What a client replicates, as it says in its startup packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One database, by its changes.
    Logical,
    /// The whole server. The name of the database is for nobody (manual: "Streaming Replication Protocol").
    Physical,
}

/// A backend that belongs to one client.
#[derive(Debug)]
pub(super) struct Line {
    backend: Stream,
    endpoint: Endpoint,
    cancel: CancelKey,
    /// What PostgreSQL said at its login: notices and ParameterStatus frames.
    pub(super) told: Vec<u8>,
}

/// Opens the backend with all that the client's startup packet asked for.
///
/// # Errors
/// The ErrorResponse for the client.
pub(super) async fn open(
    routes: &Routes,
    config: &Config,
    startup: &Startup,
    (kind, database, user): (Kind, &str, &str),
    credential: &BackendCredential,
    keys: Option<ScramKeys>,
) -> Result<Line, Vec<u8>> {
    let endpoint = match kind {
        Kind::Logical => routes
            .endpoint(config, database, user, credential)
            .map_err(|fault| Fault::fatal(sqlstate::INVALID_CATALOG_NAME, fault.to_string()).to_frame())?,
        Kind::Physical => {
            let user = credential.user.clone().unwrap_or_else(|| user.to_owned());
            routes.endpoint_at(config, config.server_for(database), user)
        }
    };
    let login = match (login_of(credential), keys) {
        (Login::None, Some(keys)) => Login::Keys(keys),
        (login, _) => login,
    };
    let parameters: Vec<(&[u8], &[u8])> = startup
        .parameters
        .iter()
        .filter(|(name, _)| !matches!(name.as_slice(), b"user" | b"database"))
        .map(|(name, value)| (name.as_slice(), value.as_slice()))
        .collect();
    let Connected { stream: backend, logged_in, cancel, .. } =
        connect::connect(&endpoint, login, &parameters).await.map_err(|refusal| proxy::refusal_frame(&refusal))?;
    let mut told = logged_in.notices;
    for (name, value) in &logged_in.statuses {
        build::parameter_status_raw(&mut told, name, value);
    }
    Ok(Line { backend, endpoint, cancel, told })
}

/// Moves bytes until either end leaves or pgweir stops.
pub(super) async fn relay(caller: Caller, line: Line, handle: &Arc<Client>) {
    let Caller { stream: client, ahead, .. } = caller;
    let Line { mut backend, endpoint, cancel, .. } = line;
    handle.has_backend(Backend { server: cancel.server, process: cancel.pid });
    if backend.write_all(&ahead).await.is_err() {
        return;
    }
    let (client_in, client_out) = tokio::io::split(client);
    let (backend_in, backend_out) = tokio::io::split(backend);
    tokio::select! {
        () = copy(client_in, backend_out) => {}
        () = copy(backend_in, client_out) => {}
        () = signals(handle, &endpoint, &cancel) => {}
    }
}

async fn copy(mut from: impl AsyncReadExt + Unpin, mut to: impl AsyncWriteExt + Unpin) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(bytes @ 1..) = from.read(&mut chunk).await {
        let written = to.write_all(chunk.get(..bytes).unwrap_or_default()).await;
        if written.is_err() || to.flush().await.is_err() {
            return;
        }
    }
}

/// Passes cancels on; returns when the session is to end.
async fn signals(handle: &Arc<Client>, endpoint: &Endpoint, key: &CancelKey) {
    loop {
        let signals = std::future::poll_fn(|cx| {
            handle.listen(cx.waker());
            let signals = handle.take_signals();
            if signals.is_empty() { std::task::Poll::Pending } else { std::task::Poll::Ready(signals) }
        })
        .await;
        if signals.has(Signal::Drain) || signals.has(Signal::End) {
            return;
        }
        if signals.has(Signal::Cancel)
            && let Err(error) = cancel::cancel(endpoint, key).await
        {
            tracing::warn!(%error, "a cancel request could not be delivered");
        }
        if signals.has(Signal::Cancel) {
            handle.cancels_are_done();
        }
    }
}
