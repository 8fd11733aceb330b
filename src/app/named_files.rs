//! The files and folders that a configuration names: whether pgweir could start with them, and who else may read its
//! secrets. `config` itself looks at no file but its own.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::{ListenTlsMode, Loaded, Mistake, Problem, ServerTlsMode};
use crate::net::{ListenTls, ServerTls, TlsFault};

/// Permission bits of those who are neither the owner nor of the file's group.
const OTHERS: u32 = 0o007;

/// What [`start`](super::start) would fail for, and can be known without starting.
#[must_use]
pub fn unusable(loaded: &Loaded) -> Vec<Mistake> {
    let config = &loaded.config;
    let mistake = |(key, problem): (&str, String)| Mistake {
        origin: loaded.origins.get(key),
        key: key.to_owned(),
        problem: Problem::Conflict(problem),
    };
    let (listen, server) = (&config.listen.tls, &config.server.tls);
    let of_clients = ListenTls::faults(listen).into_iter().map(|fault| {
        let own = listen.identity.as_ref();
        let files = [
            ("listen.tls.cert", own.map(|own| &own.cert)),
            ("listen.tls.key", own.map(|own| &own.key)),
            ("listen.tls.client_ca", listen.client_ca.as_ref()),
            ("listen.tls.client_crl", listen.client_crl.as_ref()),
        ];
        (blamed(&fault, &files).unwrap_or("listen.tls.mode"), fault.to_string())
    });
    let of_server = ServerTls::faults(server).into_iter().map(|fault| {
        let own = server.identity.as_ref();
        let files = [
            ("server.tls.cert", own.map(|own| &own.cert)),
            ("server.tls.key", own.map(|own| &own.key)),
            ("server.tls.ca", server.ca.as_ref()),
        ];
        (blamed(&fault, &files).unwrap_or("server.tls.mode"), fault.to_string())
    });
    let socket = config.listen.unix_socket.as_deref().and_then(not_a_folder);
    let store = config.insight.store.as_ref().filter(|_| config.insight.enabled);
    let store = store.and_then(|file| not_a_folder(folder_of(file)));
    let folders = socket.map(|fault| ("listen.unix_socket", fault)).into_iter();
    let folders = folders.chain(store.map(|fault| ("insight.store", fault)));
    let mut found: Vec<(&str, String)> = of_clients.chain(of_server).chain(folders).collect();
    // TLS stops at the first of its files that cannot be read.
    let identities = [
        (
            "listen.tls.cert",
            "listen.tls.key",
            listen.identity.as_ref().filter(|_| listen.mode != ListenTlsMode::Disable),
        ),
        (
            "server.tls.cert",
            "server.tls.key",
            server.identity.as_ref().filter(|_| server.mode != ServerTlsMode::Disable),
        ),
    ];
    for (cert, key, own) in identities {
        let Some(own) = own.filter(|_| found.iter().any(|(blamed, _)| *blamed == cert)) else { continue };
        if let Err(reason) = fs::File::open(&own.key) {
            found.push((key, TlsFault::Unreadable { file: own.key.clone(), reason }.to_string()));
        }
    }
    found.into_iter().map(mistake).collect()
}

/// Secrets that every user of this machine may read, as warnings that say what would be right. `file` is the
/// configuration's.
#[must_use]
pub fn exposed(loaded: &Loaded, file: Option<&Path>) -> Vec<String> {
    let config = &loaded.config;
    let of_configuration = file.filter(|_| loaded.has_passwords_in_file()).map(|file| ("the passwords in it", file));
    let identities = [("listen.tls.key", &config.listen.tls.identity), ("server.tls.key", &config.server.tls.identity)];
    let keys = identities.into_iter().filter_map(|(key, own)| Some((key, own.as_ref()?.key.as_path())));
    let all = of_configuration.into_iter().chain(keys);
    all.filter_map(|(what, file)| {
        // One that cannot be looked at is a mistake, and is told as such.
        let mode = fs::metadata(file).ok()?.mode() & 0o7777;
        let file = file.display();
        let warning = || {
            format!("{file} has mode {mode:04o}, which opens {what} to every user of this machine; chmod 600 is right")
        };
        (mode & OTHERS != 0).then(warning)
    })
    .collect()
}

fn blamed(fault: &TlsFault, files: &[(&'static str, Option<&PathBuf>)]) -> Option<&'static str> {
    let file = fault.file()?;
    files.iter().find(|(_, named)| named.is_some_and(|named| named == file)).map(|(key, _)| *key)
}

/// The folder in which a file lies.
fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn not_a_folder(path: &Path) -> Option<String> {
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => None,
        Ok(_) => Some(format!("\"{}\" is no folder", path.display())),
        Err(error) => Some(format!("the folder \"{}\" cannot be used: {error}", path.display())),
    }
}
