//! The real `pgweir` binary in front of a cluster: built from a few words, spawned on a free port, killed on drop.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;

use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio_postgres::{Client, NoTls};

use super::postgres::{Cluster, postgres};
use super::wire::WireClient;
use super::within;

/// The binary under test; `None` where there is none to test and only PostgreSQL itself is asked
/// (`PGWEIR_BIN=none`, for writing wire scripts).
#[must_use]
pub fn binary() -> Option<PathBuf> {
    match std::env::var_os("PGWEIR_BIN") {
        Some(path) if path == "none" => None,
        Some(path) => Some(path.into()),
        None => Some(env!("CARGO_BIN_EXE_pgweir").into()),
    }
}

/// A proxy to be: two backends, no overflow, transaction mode, everybody on loopback is trusted, JSON log.
#[must_use]
pub fn pgweir() -> Builder {
    let mut builder = Builder { keys: BTreeMap::new(), users: String::new(), extra: String::new(), server: None };
    for (key, value) in [
        ("listen.address", "'127.0.0.1:0'"),
        ("listen.auth", "'trust'"),
        ("pool.size", "2"),
        ("pool.max_overflow", "0"),
        ("pool.mode", "'transaction'"),
        ("log.format", "'json'"),
        ("log.level", "'info'"),
        ("process.shutdown_timeout", "'20s'"),
        // Backends go from one to the other.
        ("process.workers", "2"),
    ] {
        builder = builder.set(key, value);
    }
    builder.users = "[[users]]\nname = '*'\n".to_owned();
    builder
}

/// What a proxy's configuration will say.
#[derive(Debug, Clone)]
pub struct Builder {
    keys: BTreeMap<String, String>,
    users: String,
    extra: String,
    server: Option<u16>,
}

impl Builder {
    #[must_use]
    pub fn pool_size(self, size: usize) -> Self {
        self.set("pool.size", &size.to_string())
    }

    #[must_use]
    pub fn mode(self, mode: &str) -> Self {
        self.set("pool.mode", &format!("'{mode}'"))
    }

    /// `key` is `section.name` (`listen.tls.mode`), `value` is TOML (`'30s'`, `5`).
    #[must_use]
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.keys.insert(key.to_owned(), value.to_owned());
        self
    }

    /// Replaces the `[[users]]` sections.
    #[must_use]
    pub fn users(mut self, toml: &str) -> Self {
        toml.clone_into(&mut self.users);
        self
    }

    /// Sections that are appended as they are.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        self.extra.push_str(toml);
        self.extra.push('\n');
        self
    }

    /// Puts it in front of this cluster instead of the shared one.
    #[must_use]
    pub fn in_front_of(self, cluster: &Cluster) -> Self {
        self.in_front_of_port(cluster.port())
    }

    /// Puts it in front of whatever listens (or will) on this loopback port.
    #[must_use]
    pub fn in_front_of_port(mut self, port: u16) -> Self {
        self.server = Some(port);
        self
    }

    /// Starts it and waits until it says that it is ready.
    pub async fn start(self) -> Proxy {
        let proxy = self.spawn().await;
        proxy.wait_ready().await
    }

    /// Starts it and expects it to refuse: its exit status and its log.
    pub async fn start_refused(self) -> (ExitStatus, String) {
        let mut proxy = self.spawn().await;
        let status = proxy.wait_exit().await;
        (status, proxy.log())
    }

    async fn spawn(mut self) -> Proxy {
        let port = match self.server {
            Some(port) => port,
            None => postgres().await.port(),
        };
        self.keys.entry("server.host".to_owned()).or_insert_with(|| "'127.0.0.1'".to_owned());
        self.keys.entry("server.port".to_owned()).or_insert_with(|| port.to_string());
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("pgweir.toml");
        std::fs::write(&file, self.render()).expect("configuration file");
        Proxy::spawn(&file, folder, self)
    }

    /// The configuration file.
    #[must_use]
    pub fn render(&self) -> String {
        let mut sections: BTreeMap<&str, String> = BTreeMap::new();
        for (key, value) in &self.keys {
            let (section, name) = key.rsplit_once('.').expect("section.name");
            let _ = writeln!(sections.entry(section).or_default(), "{name} = {value}");
        }
        let mut text = String::new();
        for (section, lines) in sections {
            let _ = write!(text, "[{section}]\n{lines}\n");
        }
        text + &self.users + "\n" + &self.extra
    }
}

/// A running `pgweir`.
#[derive(Debug)]
pub struct Proxy {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    /// Lines logged so far, and whether the log has ended.
    progress: watch::Receiver<(usize, bool)>,
    addresses: Vec<SocketAddr>,
    builder: Builder,
    folder: TempDir,
}

impl Proxy {
    fn spawn(file: &Path, folder: TempDir, builder: Builder) -> Self {
        let binary = binary().expect("PGWEIR_BIN=none runs wire scripts on PostgreSQL only");
        // The kernel kills it should this thread, and with it the test, vanish without running destructors.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(binary)
            .arg("--config")
            .arg(file)
            .env_remove("DATABASE_URL")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pgweir starts");
        let stderr = child.stderr.take().expect("stderr is piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (sender, progress) = watch::channel((0, false));
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut lines = lines.lock();
                lines.push(line);
                let _ = sender.send((lines.len(), false));
            }
            let _ = sender.send((lines.lock().len(), true));
        });
        Self { child, log, progress, addresses: Vec::new(), builder, folder }
    }

    async fn wait_ready(mut self) -> Self {
        let ready = self.log_line("pgweir is ready").await;
        let addresses = json_text(&ready, "addresses").unwrap_or_else(|| panic!("no addresses in {ready}"));
        self.addresses = addresses.split(',').filter_map(|address| address.trim().parse().ok()).collect();
        assert!(!self.addresses.is_empty(), "no address in {ready}");
        self
    }

    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    #[must_use]
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// `postgres://user@127.0.0.1:port/database`.
    #[must_use]
    pub fn url(&self, user: &str, database: &str) -> String {
        format!("postgres://{user}@{}/{database}", self.address())
    }

    /// A client by connection string.
    pub async fn connect(&self, url: &str) -> Result<Client, tokio_postgres::Error> {
        let (client, connection) = within("login", tokio_postgres::connect(url, NoTls)).await?;
        tokio::spawn(connection);
        Ok(client)
    }

    /// A raw client of user and database `postgres`, logged in.
    pub async fn wire(&self) -> WireClient {
        WireClient::login(self.address(), "postgres", "postgres").await
    }

    /// Sends a signal by name, `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill runs").success(), "pgweir is not there to be signalled");
    }

    /// Writes the configuration anew, changed by `change`, and sends SIGHUP.
    pub fn reload(&mut self, change: impl FnOnce(Builder) -> Builder) {
        self.builder = change(self.builder.clone());
        std::fs::write(self.folder.path().join("pgweir.toml"), self.builder.render()).expect("configuration file");
        self.signal("HUP");
    }

    /// Waits until the process has ended.
    pub async fn wait_exit(&mut self) -> ExitStatus {
        let mut progress = self.progress.clone();
        within("pgweir ends", progress.wait_for(|(_, ended)| *ended)).await.expect("the log's reader lives");
        self.child.wait().expect("pgweir is our child")
    }

    /// Waits for a line of the log that contains `text`, and returns it.
    pub async fn log_line(&self, text: &str) -> String {
        let mut progress = self.progress.clone();
        let mut read = 0;
        let found = async {
            loop {
                let (count, ended) = *progress.borrow_and_update();
                {
                    let log = self.log.lock();
                    if let Some(line) = log[read..].iter().find(|line| line.contains(text)) {
                        return line.clone();
                    }
                    read = log.len().min(count);
                }
                assert!(!ended, "pgweir ended without logging {text:?}:\n{}", self.log());
                let _ = progress.changed().await;
            }
        };
        match tokio::time::timeout(super::GUARD, found).await {
            Ok(line) => line,
            Err(_) => panic!("pgweir did not log {text:?}:\n{}", self.log()),
        }
    }

    /// All that was logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().join("\n")
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log.lock();
            let tail = &log[log.len().saturating_sub(40)..];
            eprintln!("pgweir's log ends:\n{}", tail.join("\n"));
        }
    }
}

/// The text of a string field somewhere in a line of JSON; enough for a log line whose values need no escapes.
fn json_text<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    let (_, after) = line.split_once(&format!("\"{field}\":\""))?;
    after.split_once('"').map(|(value, _)| value)
}
