//! Opening one connection of the control plane: the way to PostgreSQL is `net`'s, the conversation is
//! tokio-postgres'.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use deadpool_postgres::Connect;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, Error, NoTls};

use super::parting::{Counted, Parting};
use crate::config::{Config, Host, Keepalive, ServerTlsMode};
use crate::net::{self, ServerTls, Stream};

/// Length 8 and the code 80877103 (manual, 55.7: SSLRequest).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];

/// Where PostgreSQL is, and how it is reached.
#[derive(Debug, Clone)]
pub(super) struct Door {
    hosts: Vec<Host>,
    tls: Option<ServerTls>,
    mode: ServerTlsMode,
    keepalive: Keepalive,
    /// For dialling, TLS and login together, at each host.
    timeout: Duration,
    /// Connections that are open, those that are closing too.
    pub(super) open: Arc<watch::Sender<usize>>,
}

impl Door {
    /// Whether it leads to the server at these hosts.
    pub(super) fn leads_to(&self, hosts: &[Host]) -> bool {
        self.hosts == hosts
    }

    /// The way to other hosts, in the same manner; its connections are counted anew.
    pub(super) fn to(&self, hosts: &[Host]) -> Self {
        Self { hosts: hosts.to_vec(), ..self.anew() }
    }

    /// The same way for other connections, which are counted anew.
    pub(super) fn anew(&self) -> Self {
        Self { open: Arc::default(), ..self.clone() }
    }
}

/// The door, and what to say at it; `None` without `[control]`.
pub(super) fn door(config: &Config, tls: Option<ServerTls>) -> Option<(tokio_postgres::Config, Door)> {
    let control = config.control.as_ref()?;
    let mut login = tokio_postgres::Config::new();
    login.user(&control.user).dbname(&control.dbname).application_name("pgweir control");
    // TLS is done before tokio-postgres gets the stream.
    login.ssl_mode(SslMode::Disable);
    if !control.password.reveal().is_empty() {
        login.password(control.password.reveal());
    }
    let door = Door {
        hosts: config.server.hosts.clone(),
        tls,
        mode: config.server.tls.mode,
        keepalive: config.server.keepalive.clone(),
        timeout: config.server.connect_timeout,
        open: Arc::default(),
    };
    Some((login, door))
}

impl Connect for Door {
    fn connect(
        &self,
        login: &tokio_postgres::Config,
    ) -> Pin<Box<dyn Future<Output = Result<(Client, JoinHandle<()>), Error>> + Send + '_>> {
        let login = login.clone();
        Box::pin(async move { self.enter(&login).await })
    }
}

impl Door {
    /// At the first host that lets us in; the last one's refusal otherwise.
    async fn enter(&self, login: &tokio_postgres::Config) -> Result<(Client, JoinHandle<()>), Error> {
        let mut last = None;
        for host in &self.hosts {
            match self.enter_at(host, login).await {
                Ok(entered) => return Ok(entered),
                Err(error) => last = Some(error),
            }
        }
        match last {
            Some(error) => Err(error),
            None => Err(as_error(login, io::ErrorKind::NotFound.into()).await),
        }
    }

    async fn enter_at(&self, host: &Host, login: &tokio_postgres::Config) -> Result<(Client, JoinHandle<()>), Error> {
        let deadline = Instant::now() + self.timeout;
        let late = || io::Error::new(io::ErrorKind::TimedOut, format!("no login within {:?}", self.timeout));
        let opened = timeout_at(deadline, self.open(host)).await.unwrap_or_else(|_| Err(late()));
        let stream = match opened {
            Ok(stream) => stream,
            Err(error) => return Err(as_error(login, error).await),
        };
        let counted = Counted::new(&self.open);
        match timeout_at(deadline, login.connect_raw(Parting::new(stream), NoTls)).await {
            Ok(Ok((client, connection))) => {
                // It ends with its client; what broke it, the client's next question tells.
                let talking = tokio::spawn(async move {
                    drop(connection.await);
                    drop(counted);
                });
                // deadpool aborts the task that it is given, which would cut the goodbye short.
                Ok((client, tokio::spawn(async move { drop(talking.await) })))
            }
            Ok(Err(error)) => Err(error),
            Err(_) => Err(as_error(login, late()).await),
        }
    }

    async fn open(&self, host: &Host) -> io::Result<Stream> {
        match self.open_as(host, self.mode).await {
            // As libpq does: encryption is preferred, so a handshake that fails is no reason to give up.
            Err(error) if self.mode == ServerTlsMode::Prefer && error.kind() == io::ErrorKind::InvalidData => {
                self.open_as(host, ServerTlsMode::Disable).await
            }
            opened => opened,
        }
    }

    /// A connection that is as private as `mode` demands, or none: a password is never written to a lesser one.
    /// Unix sockets have no TLS.
    async fn open_as(&self, host: &Host, mode: ServerTlsMode) -> io::Result<Stream> {
        let mut stream = net::dial(host, &self.keepalive, self.timeout).await?;
        let Host::Tcp { name, .. } = host else { return Ok(stream) };
        let tls = match (&self.tls, mode) {
            (_, ServerTlsMode::Disable) => return Ok(stream),
            (Some(tls), _) => tls,
            (None, ServerTlsMode::Prefer) => return Ok(stream),
            (None, _) => {
                return Err(io::Error::new(io::ErrorKind::Unsupported, "server.tls.mode wants TLS; none is set up"));
            }
        };
        stream.write_all(&SSL_REQUEST).await?;
        stream.flush().await?;
        // Exactly one byte: whatever followed it would not be part of the handshake.
        match stream.read_u8().await? {
            b'S' => tls.connect(stream, name).await,
            b'N' if mode == ServerTlsMode::Prefer => Ok(stream),
            b'N' => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the server offers no TLS, and server.tls.mode wants it",
            )),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "the server did not understand the request for TLS")),
        }
    }
}

/// A stream on which nothing works. tokio-postgres offers no way to make its error out of another, so the error is
/// handed to it as that of a socket.
#[derive(Debug)]
struct Broken(Option<io::Error>);

async fn as_error(login: &tokio_postgres::Config, error: io::Error) -> Error {
    match login.connect_raw(Broken(Some(error)), NoTls).await {
        Ok(_) => unreachable!("nobody logs in over a stream that takes no byte"),
        Err(error) => error,
    }
}

impl Broken {
    fn fail<T>(&mut self) -> Poll<io::Result<T>> {
        Poll::Ready(Err(self.0.take().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into())))
    }
}

impl AsyncRead for Broken {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.fail()
    }
}

impl AsyncWrite for Broken {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        self.fail()
    }

    fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fail()
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.fail()
    }
}

/// What an operator wants to read of an error: PostgreSQL's own words, or the socket's.
pub(super) fn told(error: &Error) -> String {
    if let Some(report) = error.as_db_error() {
        return format!("{} (SQLSTATE {})", report.message(), report.code().code());
    }
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_reason_why_nothing_was_opened_reaches_the_reader() {
        let mut login = tokio_postgres::Config::new();
        login.user("somebody");
        let error = as_error(&login, io::Error::other("the bridge is up")).await;
        assert_eq!(told(&error), "the bridge is up");
    }
}
