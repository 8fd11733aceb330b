//! Sockets on loopback, and certificates made for the occasion.

mod authority;
mod moving;
mod sockets;
mod tls_listen;
mod tls_server;

use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

use super::Stream;
use crate::config::Keepalive;

const NO_KEEPALIVE: Keepalive = Keepalive { idle: None, interval: None, retries: None };
/// Longer than anything here takes, so that a failure is an error and not a hang.
const PATIENCE: Duration = Duration::from_secs(20);

/// Two ends of one connection: accepted and dialled.
async fn pair() -> (Stream, Stream) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let (dialled, accepted) =
        tokio::try_join!(TcpStream::connect(listener.local_addr().unwrap()), listener.accept()).unwrap();
    let stream = |socket| Stream::accepted_tcp(socket, &NO_KEEPALIVE).unwrap();
    (stream(accepted.0), stream(dialled))
}

fn on_one_runtime<F: Future>(test: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(PATIENCE, test).await.expect("it ends in time") })
}
