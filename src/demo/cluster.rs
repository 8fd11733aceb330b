//! A throw-away PostgreSQL: found, made, started, and gone without trace however the demo ends.
//!
//! It is owned by a keeper, a small shell that waits at the read end of a pipe. When the demo ends, be it by a return,
//! a panic or `kill -9`, the pipe closes; the keeper stops PostgreSQL and removes the folder.

use std::ffi::{OsStr, OsString};
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, ensure};

/// What a distribution puts PostgreSQL's programs into: a folder, and what its entries are followed by.
const PLACES: &[(&str, &str, &str)] = &[
    ("/usr/lib/postgresql", "", "bin"),
    ("/usr", "pgsql-", "bin"),
    ("/opt/homebrew/opt", "postgresql", "bin"),
    ("/usr/local/opt", "postgresql", "bin"),
    ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
];
/// Lines of a log that are shown when a step fails.
const TAIL: usize = 20;
/// Another program may take a port between our look and PostgreSQL's.
const ATTEMPTS: u32 = 5;

const KEEPER: &str = "trap '' INT TERM HUP; read -r _; \
     if [ -f \"$2/postmaster.pid\" ]; then \
     \"$1\" stop -s -m fast -w -t 10 -D \"$2\" || \"$1\" stop -s -m immediate -D \"$2\"; fi; rm -rf \"$3\"";

/// A running PostgreSQL. `postgres` logs in by the unix socket only, whose folder is closed to others; the role `shop`
/// over loopback too.
#[derive(Debug)]
pub(super) struct Cluster {
    folder: PathBuf,
    port: u16,
    version: String,
    keeper: Child,
}

/// PostgreSQL's programs, and who runs them.
#[derive(Debug)]
struct Programs {
    folder: PathBuf,
    /// `None` is whoever runs the demo; PostgreSQL refuses root.
    owner: Option<(u32, u32)>,
}

impl Cluster {
    /// Makes and starts a cluster for `connections` connections. It blocks for a second or two. `path` is the
    /// variable `PATH`.
    ///
    /// # Errors
    /// With what to install, or the end of PostgreSQL's log. Nothing remains.
    pub(super) fn start(path: Option<&OsStr>, connections: usize) -> anyhow::Result<Self> {
        let programs = Programs::find(path)?;
        let version = programs.output("postgres", |command| command.arg("--version"))?;
        let folder = std::env::temp_dir().join(format!("pgweir-demo-{}", std::process::id()));
        std::fs::DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .with_context(|| format!("making {}", folder.display()))?;
        let owned = programs.owner.map_or(Ok(()), |(user, group)| chown(&folder, Some(user), Some(group)));
        let kept = owned.and_then(|()| programs.keep(&folder));
        let keeper = match kept {
            Ok(keeper) => keeper,
            Err(error) => {
                let _ = std::fs::remove_dir_all(&folder);
                return Err(error).context("preparing a folder for PostgreSQL");
            }
        };
        // From here on, dropping it tidies up.
        let version = version.trim().trim_start_matches("postgres (PostgreSQL) ").to_owned();
        let mut cluster = Self { folder, port: 0, version, keeper };
        cluster.create(&programs, connections).context("starting a throw-away PostgreSQL")?;
        Ok(cluster)
    }

    fn create(&mut self, programs: &Programs, connections: usize) -> anyhow::Result<()> {
        let data = self.data();
        programs.output("initdb", |command| {
            command.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "-D"]).arg(&data)
        })?;
        std::fs::write(data.join("pg_hba.conf"), "local all all trust\nhost all shop 127.0.0.1/32 trust\n")?;
        for attempt in 1.. {
            self.port = free_port()?;
            std::fs::write(data.join("postgresql.conf"), self.settings(connections))?;
            let log = self.folder.join("log");
            let started = programs.output("pg_ctl", |command| {
                command.args(["start", "-s", "-w", "-t", "60", "-D"]).arg(&data).arg("-l").arg(&log)
            });
            match started {
                Ok(_) => break,
                Err(error) if attempt == ATTEMPTS => {
                    let text = std::fs::read_to_string(&log).unwrap_or_default();
                    return Err(error.context(format!("PostgreSQL's log ends:\n{}", tail(&text))));
                }
                Err(_) => {}
            }
        }
        Ok(())
    }

    fn settings(&self, connections: usize) -> String {
        // Backends of pgweir, a person or two, and what PostgreSQL reserves.
        let connections = connections + 20;
        format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\nmax_connections = {connections}\n\
             shared_buffers = '64MB'\nfsync = off\nsynchronous_commit = off\nfull_page_writes = off\n",
            self.port,
            self.folder.display().to_string().replace('\'', "''"),
        )
    }

    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Of the TCP socket, and in the name of the unix socket.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Folder of the unix socket.
    pub(super) fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// The whole path of the unix socket.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.join(format!(".s.PGSQL.{}", self.port))
    }

    /// `15.4 (Debian 15.4-1)`, or shorter.
    pub(super) fn version(&self) -> &str {
        &self.version
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

impl Programs {
    fn find(path: Option<&OsStr>) -> anyhow::Result<Self> {
        let folder = candidates(path).into_iter().find_map(|folder| complete(&folder)).context(
            "PostgreSQL's programs (initdb, pg_ctl, postgres) are nowhere to be found. Install them:\n  \
             Debian, Ubuntu   sudo apt-get install postgresql\n  \
             Fedora, RHEL     sudo dnf install postgresql-server\n  \
             macOS            brew install postgresql\n\
             or put their folder into PATH",
        )?;
        let owner = if rustix::process::geteuid().is_root() { Some(postgres_user()?) } else { None };
        Ok(Self { folder, owner })
    }

    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        // In a group of its own, Ctrl-C on the terminal is for the demo only.
        command.current_dir("/").process_group(0).stdin(Stdio::null());
        if let Some((user, group)) = self.owner {
            command.uid(user).gid(group);
        }
        command
    }

    /// What a program prints.
    fn output(&self, program: &str, arguments: impl FnOnce(&mut Command) -> &mut Command) -> anyhow::Result<String> {
        let mut command = self.command(self.folder.join(program));
        let output = arguments(&mut command).output().with_context(|| format!("running {program}"))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        ensure!(output.status.success(), "{program} failed: {}", tail(&(text(&output.stdout) + &text(&output.stderr))));
        Ok(text(&output.stdout))
    }

    fn keep(&self, folder: &Path) -> io::Result<Child> {
        let mut command = self.command("sh");
        command.args(["-c", KEEPER, "keeper"]).arg(self.folder.join("pg_ctl")).arg(folder.join("data")).arg(folder);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
    }
}

/// Folders that may hold PostgreSQL's programs, the likeliest first.
fn candidates(path: Option<&OsStr>) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = path.into_iter().flat_map(std::env::split_paths).collect();
    folders.extend(PLACES.iter().flat_map(|(place, prefix, below)| versions(Path::new(place), prefix, below)));
    if let Ok(output) = Command::new("pg_config").arg("--bindir").stderr(Stdio::null()).output() {
        folders.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    folders.extend(["/opt/homebrew/bin", "/usr/local/pgsql/bin"].map(PathBuf::from));
    folders
}

/// The folders `place/prefix*/below`, newest version first.
fn versions(place: &Path, prefix: &str, below: &str) -> Vec<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
        let name: OsString = entry.file_name();
        let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(prefix)) else { continue };
        let major: String = rest.chars().skip_while(|c| !c.is_ascii_digit()).take_while(char::is_ascii_digit).collect();
        found.push((major.parse().unwrap_or(0), entry.path().join(below)));
    }
    found.sort_by(|one, other| other.cmp(one));
    found.into_iter().map(|(_, folder)| folder).collect()
}

/// The folder itself, links followed, if all programs are there.
fn complete(folder: &Path) -> Option<PathBuf> {
    let real = folder.join("initdb").canonicalize().ok()?;
    let folder = real.parent()?;
    ["initdb", "pg_ctl", "postgres"].iter().all(|program| folder.join(program).is_file()).then(|| folder.to_owned())
}

/// User and group of the account that packages of PostgreSQL make.
fn postgres_user() -> anyhow::Result<(u32, u32)> {
    let ask = |what: &str| -> anyhow::Result<u32> {
        let output = Command::new("id").args([what, "postgres"]).output().context("running id")?;
        let number = String::from_utf8_lossy(&output.stdout).trim().parse().ok();
        number.context(
            "PostgreSQL refuses to run as root, and there is no user \"postgres\"; run the demo as an ordinary user",
        )
    };
    Ok((ask("-u")?, ask("-g")?))
}

/// A TCP port of the loopback interface that nobody listens on.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_comes_first() {
        let folder = tempfile::tempdir().expect("folder");
        for name in ["pg-9.6", "pg-15", "pg-17", "other-18"] {
            std::fs::create_dir(folder.path().join(name)).expect("folder");
        }
        let found = versions(folder.path(), "pg-", "bin");
        let names: Vec<_> = found.iter().filter_map(|path| path.parent()?.file_name()?.to_str()).collect();
        assert_eq!(names, ["pg-17", "pg-15", "pg-9.6"]);
    }

    #[test]
    fn the_end_of_a_log_is_short() {
        let log: String = (0..100).map(|n| format!("line {n}\n")).collect();
        assert_eq!(tail(&log).lines().count(), TAIL);
        assert!(tail(&log).ends_with("line 99"));
        assert_eq!(tail(""), "");
    }
}
