//! Throw-away PostgreSQL clusters.
//!
//! A cluster lives in a temporary folder and is owned by a small shell, the keeper, which holds the read end of a pipe.
//! However the test process ends (return, panic, kill), the pipe closes, and the keeper stops PostgreSQL and removes
//! the folder. libtest has no tear-down of its own.

use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use tokio_postgres::{Client, NoTls};

/// A running PostgreSQL. `postgres` is its superuser; over TCP the roles `by_trust`, `by_password`, `by_md5` and
/// `by_scram` log in by the method of their name, with the password `secret of <role>`; everybody else is trusted.
#[derive(Debug)]
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    keeper: Child,
}

/// What a private cluster has that the shared one has not.
#[derive(Debug, Default)]
pub struct Options {
    server_cert: Option<(String, String)>,
    client_ca: Option<String>,
    preload: Option<&'static str>,
}

impl Options {
    /// `ssl = on` with this PEM chain and key.
    #[must_use]
    pub fn tls(mut self, cert: &str, key: &str) -> Self {
        self.server_cert = Some((cert.to_owned(), key.to_owned()));
        self
    }

    /// The PEM certificate that must have signed a client's one; the role `by_cert` logs in by it.
    #[must_use]
    pub fn client_ca(mut self, pem: &str) -> Self {
        self.client_ca = Some(pem.to_owned());
        self
    }

    /// Loads this library at its start.
    #[must_use]
    pub fn preload(mut self, library: &'static str) -> Self {
        self.preload = Some(library);
        self
    }

    /// Makes and starts the cluster.
    pub async fn start(self) -> Cluster {
        let cluster = tokio::task::spawn_blocking(move || Cluster::create(&self)).await.expect("cluster is created");
        cluster.make_roles().await;
        cluster
    }
}

/// The cluster that all tests of this process share. Nobody stops it or changes its settings.
pub async fn postgres() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    static ROLES: tokio::sync::OnceCell<()> = tokio::sync::OnceCell::const_new();
    let cluster = tokio::task::spawn_blocking(|| SHARED.get_or_init(|| Cluster::create(&Options::default())))
        .await
        .expect("cluster is created");
    ROLES.get_or_init(|| cluster.make_roles()).await;
    cluster
}

/// A cluster of one's own, to be stopped, killed or configured.
#[must_use]
pub fn own_postgres() -> Options {
    Options::default()
}

impl Cluster {
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Folder of the unix socket.
    #[must_use]
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// A direct connection of the superuser to the database `postgres`, by unix socket.
    pub async fn admin(&self) -> Client {
        self.connect("postgres", "postgres").await
    }

    /// A direct connection by unix socket, where everybody is trusted.
    pub async fn connect(&self, user: &str, database: &str) -> Client {
        let config = format!("host={} port={} user={user} dbname={database}", self.folder.display(), self.port);
        let (client, connection) = tokio_postgres::connect(&config, NoTls).await.expect("direct connection");
        tokio::spawn(connection);
        client
    }

    /// Runs SQL as the superuser, directly.
    pub async fn execute(&self, sql: &str) {
        self.admin().await.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// PostgreSQL's major version.
    pub async fn version(&self) -> i64 {
        self.count("select current_setting('server_version_num')::int8 / 10000").await
    }

    /// The first column of the only row, as the superuser, directly.
    pub async fn count(&self, sql: &str) -> i64 {
        let row = self.admin().await.query_one(sql, &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        row.get(0)
    }

    /// Stops the server: `mode` is `fast` or `immediate`.
    pub async fn stop(&self, mode: &str) {
        let folder = self.folder.clone();
        let mode = mode.to_owned();
        tokio::task::spawn_blocking(move || {
            run(pg("pg_ctl").arg("stop").arg("-m").arg(mode).arg("-w").arg("-D").arg(folder.join("data")));
        })
        .await
        .expect("server stops");
    }

    /// Starts a stopped server again, on the same port.
    pub async fn start_again(&self) {
        let folder = self.folder.clone();
        tokio::task::spawn_blocking(move || start_server(&folder)).await.expect("server starts");
    }

    /// The server's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    fn create(options: &Options) -> Self {
        // A run that was killed may have left its own, and process ids come again.
        let age = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
        let folder = std::env::temp_dir().join(format!("pgweir-it-{}-{age}", std::process::id()));
        std::fs::create_dir(&folder).expect("temporary folder");
        if is_root() {
            run(Command::new("chown").arg("postgres:").arg(&folder));
        }
        let keeper = keep(&folder);
        let data = folder.join("data");
        run(pg("initdb")
            .args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data));
        let mut cluster = Self { folder, port: 0, keeper };
        std::fs::write(data.join("pg_hba.conf"), hba(options)).expect("pg_hba.conf");
        cluster.write_certificates(options);
        // Another process may take the port between our look and the server's bind: then look again.
        for attempt in 1.. {
            cluster.port = free_port();
            std::fs::write(data.join("postgresql.conf"), cluster.settings(options)).expect("postgresql.conf");
            if try_start_server(&cluster.folder) {
                break;
            }
            assert!(attempt < 5, "PostgreSQL does not start:\n{}", cluster.log());
        }
        cluster
    }

    fn settings(&self, options: &Options) -> String {
        let mut text = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nmax_connections = 300\n\
             fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nwal_level = logical\nmax_wal_senders = 5\n\
             shared_buffers = '32MB'\nmax_prepared_transactions = 5\nautovacuum = off\nlog_line_prefix = '%m [%p] %a '\n",
            self.port,
            self.folder.display()
        );
        if let Some(library) = options.preload {
            let _ = writeln!(text, "shared_preload_libraries = '{library}'");
        }
        if options.server_cert.is_some() {
            text.push_str("ssl = on\nssl_cert_file = 'server.pem'\nssl_key_file = 'server.key'\n");
        }
        if options.client_ca.is_some() {
            text.push_str("ssl_ca_file = 'client_ca.pem'\n");
        }
        text
    }

    fn write_certificates(&self, options: &Options) {
        let data = self.folder.join("data");
        let mut files = Vec::new();
        if let Some((cert, key)) = &options.server_cert {
            files.push(("server.pem", cert));
            files.push(("server.key", key));
        }
        if let Some(pem) = &options.client_ca {
            files.push(("client_ca.pem", pem));
        }
        for (name, content) in files {
            let path = data.join(name);
            std::fs::write(&path, content).expect("certificate file");
            run(Command::new("chmod").arg("600").arg(&path));
            if is_root() {
                run(Command::new("chown").arg("postgres:").arg(&path));
            }
        }
    }

    async fn make_roles(&self) {
        let mut sql = String::new();
        for role in ["by_trust", "by_password", "by_md5", "by_scram", "by_cert", "nobody_special"] {
            let encryption = if role == "by_md5" { "md5" } else { "scram-sha-256" };
            let _ = write!(
                sql,
                "SET password_encryption = '{encryption}'; CREATE ROLE {role} LOGIN PASSWORD 'secret of {role}'; \
                 GRANT CREATE ON SCHEMA public TO {role};"
            );
        }
        sql.push_str("CREATE ROLE by_trust_replication LOGIN REPLICATION;");
        self.execute(&sql).await;
        self.execute("CREATE DATABASE second").await;
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn hba(options: &Options) -> String {
    let mut text = String::from("local all all trust\nlocal replication all trust\n");
    if options.client_ca.is_some() {
        text.push_str("hostssl all by_cert 127.0.0.1/32 cert\nhost all by_cert 127.0.0.1/32 reject\n");
    }
    for (role, method) in [("by_password", "password"), ("by_md5", "md5"), ("by_scram", "scram-sha-256")] {
        let _ = writeln!(text, "host all {role} 127.0.0.1/32 {method}");
    }
    text.push_str("host all all 127.0.0.1/32 trust\nhost replication all 127.0.0.1/32 trust\n");
    text
}

/// Starts the keeper of `folder`.
fn keep(folder: &Path) -> Child {
    // As root, the keeper itself becomes `postgres`, which owns all that it has to stop and to remove.
    let script = "trap '' INT TERM HUP; read -r _; \
                  if [ -f \"$1/data/postmaster.pid\" ]; then \"$2\" stop -s -m immediate -D \"$1/data\"; fi; rm -rf \"$1\"";
    as_postgres("sh")
        .args(["-c", script, "keeper"])
        .arg(folder)
        .arg(binary("pg_ctl"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("keeper starts")
}

fn start_server(folder: &Path) {
    assert!(try_start_server(folder), "PostgreSQL does not start");
}

fn try_start_server(folder: &Path) -> bool {
    pg("pg_ctl")
        .args(["start", "-s", "-w", "-t", "60", "-D"])
        .arg(folder.join("data"))
        .arg("-l")
        .arg(folder.join("log"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("pg_ctl runs")
        .success()
}

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("command runs");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// One of PostgreSQL's programs, run as a user whom PostgreSQL accepts.
fn pg(program: &str) -> Command {
    as_postgres(binary(program))
}

fn as_postgres(program: impl AsRef<std::ffi::OsStr>) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program).current_dir("/");
    command
}

/// The program's path: in `PG_BIN`, else the newest of Debian's folders, else left to `PATH`.
fn binary(program: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("PG_BIN") {
        return Path::new(&folder).join(program);
    }
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin").join(program))))
        .filter(|(_, path)| path.exists())
        .collect();
    versions.sort();
    versions.pop().map_or_else(|| PathBuf::from(program), |(_, path)| path)
}

fn is_root() -> bool {
    // The owner of our own entry in /proc is who we are.
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata("/proc/self").is_ok_and(|entry| entry.uid() == 0)
}

/// A TCP port of the loopback interface that nobody listens on.
#[must_use]
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}
