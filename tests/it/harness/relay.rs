//! A way to PostgreSQL that can keep back what it says, so that it comes at once.

use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::postgres::Cluster;

/// What is kept back.
#[derive(Debug, Clone)]
enum Holding {
    Nothing,
    All,
    /// What a connection says from what has this in it on.
    From(&'static [u8]),
}

/// See the module. It ends with its runtime.
pub struct Relay {
    port: u16,
    holds: watch::Sender<Holding>,
    /// All that was said.
    said: Arc<watch::Sender<Vec<u8>>>,
}

impl Relay {
    pub async fn to(cluster: &Cluster) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let (holds, said) = (watch::Sender::new(Holding::Nothing), Arc::new(watch::Sender::new(Vec::new())));
        let (address, all_said, heed) = (cluster.address(), Arc::clone(&said), holds.subscribe());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(address).await.expect("PostgreSQL");
                tokio::spawn(carry(client, server, heed.clone(), Arc::clone(&all_said)));
            }
        });
        Self { port, holds, said }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Keeps back what PostgreSQL says from now on.
    pub fn hold(&self) {
        self.holds.send_replace(Holding::All);
    }

    /// Keeps back what has these bytes in it, and what follows on the same connection.
    pub fn hold_from(&self, bytes: &'static [u8]) {
        self.holds.send_replace(Holding::From(bytes));
    }

    /// Waits until PostgreSQL has said this.
    pub async fn has(&self, bytes: &[u8]) {
        let is_there = |said: &Vec<u8>| has(said, bytes);
        super::within("what is kept back", self.said.subscribe().wait_for(is_there)).await.expect("it lives");
    }

    /// Gives all of it at once.
    pub fn let_go(&self) {
        self.holds.send_replace(Holding::Nothing);
    }
}

fn has(all: &[u8], bytes: &[u8]) -> bool {
    all.windows(bytes.len()).any(|window| window == bytes)
}

/// Carries bytes between the two until either ends.
async fn carry(
    client: TcpStream,
    server: TcpStream,
    mut holds: watch::Receiver<Holding>,
    said: Arc<watch::Sender<Vec<u8>>>,
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    let (mut kept, mut buffer, mut open) = (Vec::new(), vec![0; 64 * 1024], true);
    while open || !kept.is_empty() {
        tokio::select! {
            read = from_server.read(&mut buffer), if open => {
                let bytes = &buffer[..read.unwrap_or(0)];
                open = !bytes.is_empty();
                kept.extend_from_slice(bytes);
                said.send_modify(|said| said.extend_from_slice(bytes));
            }
            changed = holds.changed() => if changed.is_err() { return },
        }
        let keeps = match &*holds.borrow() {
            Holding::Nothing => false,
            Holding::All => true,
            Holding::From(bytes) => has(&kept, bytes),
        };
        if !keeps {
            if to_client.write_all(&kept).await.is_err() {
                return;
            }
            kept.clear();
        }
    }
}
