//! What must hold between keys. Each value alone was judged by its kind.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::mistake::Problem;
use super::model::*;
use super::secret::{SecretForm, form_of};
use super::value::{Sheet, Value};

/// What is wrong between `keys`; the first one is the one to name.
#[derive(Debug)]
pub(super) struct Finding {
    pub(super) keys: Vec<String>,
    pub(super) problem: Problem,
}

/// Everything that does not fit together. `users` are the names of the users' tables, in their order; `plain` is
/// true when nobody wrote `listen.tls.mode`, `of_file` where there is a file.
pub(super) fn findings(config: &Config, sheet: &Sheet, users: &[String], plain: bool, of_file: bool) -> Vec<Finding> {
    let mut found = Findings { config, sheet, users, of_file, list: Vec::new() };
    found.addresses();
    found.listen_tls();
    if plain {
        found.unused_certificate();
    }
    found.server();
    found.limits();
    found.control();
    found.console();
    found.trust();
    found.all_users();
    found.pools();
    found.list
}

struct Findings<'a> {
    config: &'a Config,
    sheet: &'a Sheet,
    users: &'a [String],
    of_file: bool,
    list: Vec<Finding>,
}

impl Findings<'_> {
    fn conflict(&mut self, keys: &[&str], text: impl Into<String>) {
        self.add(keys, Problem::Conflict(text.into()));
    }

    fn missing(&mut self, keys: &[&str], text: impl Into<String>) {
        self.add(keys, Problem::Missing(text.into()));
    }

    fn add(&mut self, keys: &[&str], problem: Problem) {
        self.list.push(Finding { keys: keys.iter().map(|key| (*key).to_owned()).collect(), problem });
    }

    fn is_set(&self, section: &str, key: &str) -> bool {
        self.sheet.sections.get(section).is_some_and(|values| *values.value(key) != Value::Absent)
    }

    /// Two listeners cannot share a port, and `0.0.0.0` has that of every address.
    fn addresses(&mut self) {
        let addresses = &self.config.listen.addresses;
        let taken_twice = addresses.iter().enumerate().find_map(|(place, second)| {
            let first = addresses.iter().take(place).find(|first| is_same_door(**first, *second))?;
            Some((first, second))
        });
        match taken_twice {
            Some((first, second)) if first == second => {
                self.conflict(&["listen.address"], format!("{first} is there twice"));
            }
            Some((first, second)) => {
                self.conflict(&["listen.address"], format!("{first} and {second} cannot both be listened on"));
            }
            None => {}
        }
    }

    fn listen_tls(&mut self) {
        let tls = &self.config.listen.tls;
        let (cert, key) = (self.is_set("listen.tls", "cert"), self.is_set("listen.tls", "key"));
        if tls.mode != ListenTlsMode::Disable {
            for (name, set) in [("listen.tls.cert", cert), ("listen.tls.key", key)] {
                if !set {
                    self.missing(
                        &[name, "listen.tls.mode"],
                        format!("is needed while listen.tls.mode is \"{}\"", tls.mode),
                    );
                }
            }
        } else if cert != key {
            let (name, other) = if cert { ("key", "cert") } else { ("cert", "key") };
            self.missing(
                &[&format!("listen.tls.{name}"), &format!("listen.tls.{other}")],
                format!("is needed with listen.tls.{other}"),
            );
        }
        if tls.client_crl.is_some() && tls.client_ca.is_none() {
            self.missing(
                &["listen.tls.client_ca", "listen.tls.client_crl"],
                "is needed to judge client certificates (listen.tls.client_crl says which of them were revoked)",
            );
        }
        if tls.require_client_cert && tls.client_ca.is_none() {
            self.missing(
                &["listen.tls.client_ca", "listen.tls.require_client_cert"],
                "is needed to judge client certificates (listen.tls.require_client_cert = true)",
            );
        }
    }

    /// A certificate is written by those who want TLS: silence would leave passwords in the open.
    fn unused_certificate(&mut self) {
        if self.config.listen.tls.identity.is_some() {
            let text =
                "is needed with a certificate: \"allow\" offers TLS, \"require\" insists on it, \"disable\" is without";
            self.missing(&["listen.tls.mode", "listen.tls.cert"], text);
        }
    }

    fn server(&mut self) {
        if self.is_set("server.tls", "cert") != self.is_set("server.tls", "key") {
            let (name, other) = if self.is_set("server.tls", "cert") { ("key", "cert") } else { ("cert", "key") };
            self.missing(
                &[&format!("server.tls.{name}"), &format!("server.tls.{other}")],
                format!("is needed with server.tls.{other}"),
            );
        }
        let mode = self.config.server.tls.mode;
        let verifies = matches!(mode, ServerTlsMode::VerifyCa | ServerTlsMode::VerifyFull);
        if self.is_set("server.tls", "ca") && !verifies {
            self.conflict(
                &["server.tls.ca", "server.tls.mode"],
                format!(
                    "nobody's certificate is compared with it while server.tls.mode is \"{mode}\"; set that to \
                     \"verify-full\" or \"verify-ca\", or leave this out"
                ),
            );
        }
        let Backoff { first, longest } = &self.config.server.backoff;
        if first > longest {
            let (first, longest) = (humantime::format_duration(*first), humantime::format_duration(*longest));
            self.conflict(
                &["server.backoff.first", "server.backoff.longest"],
                format!("{first} is longer than server.backoff.longest, {longest}"),
            );
        }
    }

    fn limits(&mut self) {
        let limits = &self.config.limits;
        if limits.held_message > limits.message {
            self.conflict(
                &["limits.held_message", "limits.message"],
                format!("{} bytes are more than limits.message, {} bytes", limits.held_message, limits.message),
            );
        }
    }

    fn control(&mut self) {
        let (user, password) = (self.is_set("control", "user"), self.is_set("control", "password"));
        if user != password {
            let (name, other) = if user { ("password", "user") } else { ("user", "password") };
            self.missing(
                &[&format!("control.{name}"), &format!("control.{other}")],
                format!("is needed with control.{other}"),
            );
        }
        if self.config.insight.plans && !user {
            self.missing(
                &["control.user", "insight.plans"],
                "is needed with insight.plans: plans are asked for as that user",
            );
        }
        let stored = self.config.control.as_ref().is_some_and(|c| form_of(c.password.reveal()) != SecretForm::Plain);
        if stored {
            self.conflict(&["control.password"], "a stored secret cannot log in; give the password itself");
        }
    }

    /// Whether those who may enter the console can prove who they are.
    fn console(&mut self) {
        let (config, admin) = (self.config, &self.config.admin);
        if !admin.console {
            return;
        }
        let taken = format!("databases.{}", Admin::DATABASE);
        if config.databases.contains_key(Admin::DATABASE) {
            self.conflict(
                &[&format!("{taken}.dbname"), "admin.console"],
                "the name is the console's; choose another, or set admin.console = false",
            );
        }
        let lists = [("admin.users", &admin.users), ("admin.stats_users", &admin.stats_users)];
        for (key, names) in lists {
            let anybody = config.users.is_empty() && matches!(config.listen.auth, AuthMethod::Trust | AuthMethod::Cert);
            let known = |name: &String| anybody || admin.password.is_some() || config.user_for(name).is_some();
            if let Some(name) = names.iter().find(|name| !known(name)) {
                let text = format!("{name:?} could not prove who it is; add it to [[users]] or set admin.password");
                self.missing(&[key, "admin.password", "users"], text);
            }
        }
        if let Some(password) = &admin.password {
            let user = User {
                name: String::new(),
                password: Some(password.clone()),
                auth: None,
                backend_user: None,
                backend_password: Some(Secret::new(String::new())),
                pool: PoolOverride::default(),
            };
            self.user_proof(&user, "admin");
        }
    }

    fn trust(&mut self) {
        let listen = &self.config.listen;
        let Some(remote) = listen.addresses.iter().find(|a| !a.ip().to_canonical().is_loopback()) else { return };
        if listen.allow_remote_trust {
            return;
        }
        let text = format!(
            "\"trust\" asks for no proof, and {remote} can be reached from other machines; \
             choose another method or set listen.allow_remote_trust = true"
        );
        if listen.auth == AuthMethod::Trust {
            self.conflict(&["listen.auth", "listen.address", "listen.allow_remote_trust"], text.as_str());
        }
        for (user, label) in self.config.users.iter().zip(self.users) {
            if user.auth == Some(AuthMethod::Trust) {
                self.conflict(
                    &[&format!("{label}.auth"), "listen.address", "listen.allow_remote_trust"],
                    text.as_str(),
                );
            }
        }
    }

    fn all_users(&mut self) {
        let (config, users) = (self.config, self.users);
        if config.users.is_empty() && config.listen.auth != AuthMethod::Trust {
            let text = if self.of_file {
                "nobody could log in; add [[users]] with a name and a password, or name a server by --url"
            } else {
                "nobody could log in; start with `pgweir --url postgres://user:password@host:5432/dbname` or \
                 `pgweir --config proxy.toml`"
            };
            self.missing(&["users", "listen.auth"], text);
        }
        let mut seen = BTreeSet::new();
        for (user, label) in config.users.iter().zip(users) {
            if !seen.insert(&user.name) {
                self.conflict(&[&format!("{label}.name")], format!("the user {:?} is already there", user.name));
            }
            self.user_proof(user, label);
            self.backend_login(user, label);
        }
        if config.listen.auth == AuthMethod::Cert {
            self.cert("listen.auth");
        }
    }

    /// Whether a client can be judged by what is known of its user.
    fn user_proof(&mut self, user: &User, label: &str) {
        let method = user.auth.unwrap_or(self.config.listen.auth);
        let (password, auth) = (format!("{label}.password"), format!("{label}.auth"));
        if user.auth == Some(AuthMethod::Cert) {
            self.cert(&auth);
        }
        if matches!(method, AuthMethod::Cert | AuthMethod::Trust) {
            return;
        }
        let keys = [password.as_str(), auth.as_str(), "listen.auth"];
        let Some(secret) = &user.password else {
            self.missing(&keys, format!("is needed: clients prove it by \"{method}\""));
            return;
        };
        match (form_of(secret.reveal()), method) {
            (SecretForm::Md5, AuthMethod::ScramSha256) => {
                self.conflict(
                    &keys,
                    "an md5 secret cannot be proved by \"scram-sha-256\"; set auth = \"md5\", or give the password \
                     itself",
                );
            }
            (SecretForm::Scram, AuthMethod::Md5) => {
                self.conflict(&keys, "a SCRAM secret cannot be proved by \"md5\"; set auth = \"scram-sha-256\"");
            }
            (SecretForm::Plain, _) if secret.reveal().is_empty() => {
                self.conflict(&keys, "an empty password lets nobody in");
            }
            _ => {}
        }
    }

    /// Whether what is known of a user can log in at the server.
    fn backend_login(&mut self, user: &User, label: &str) {
        let own = format!("{label}.password");
        let other = format!("{label}.backend_password");
        for (key, secret) in [(&own, &user.password), (&other, &user.backend_password)] {
            if secret.as_ref().is_some_and(|secret| form_of(secret.reveal()) == SecretForm::Broken) {
                self.conflict(
                    &[key],
                    "begins like a stored secret but is none; copy it whole from pg_authid.rolpassword \
                     (SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, or md5 and 32 hexadecimal digits)",
                );
            }
        }
        let scram_proved = user.auth.unwrap_or(self.config.listen.auth) == AuthMethod::ScramSha256;
        let renamed = user.backend_user.as_ref().is_some_and(|name| *name != user.name);
        let form = |secret: &Option<Secret>| secret.as_ref().map_or(SecretForm::Plain, |s| form_of(s.reveal()));
        if user.backend_password.is_some() {
            let same = user.backend_password == user.password;
            if form(&user.backend_password) == SecretForm::Scram && !(same && scram_proved) {
                self.conflict(
                    &[&other, &own],
                    "a SCRAM secret logs in only with the keys of a client that proved the same secret by \
                     \"scram-sha-256\"; give the password itself",
                );
            }
            return;
        }
        let (backend_user, auth) = (format!("{label}.backend_user"), format!("{label}.auth"));
        match form(&user.password) {
            SecretForm::Md5 | SecretForm::Scram if renamed => self.conflict(
                &[&backend_user, &own],
                format!("the stored secret of {:?} cannot log in as another user; add backend_password", user.name),
            ),
            SecretForm::Scram if !scram_proved => self.conflict(
                &[&own, &auth, "listen.auth"],
                "a SCRAM secret logs in at the server only with the keys of a client that proved it by \
                 \"scram-sha-256\"; set that method or add backend_password",
            ),
            _ => {}
        }
    }

    fn cert(&mut self, key: &str) {
        let tls = &self.config.listen.tls;
        if tls.mode == ListenTlsMode::Disable {
            self.conflict(
                &[key, "listen.tls.mode"],
                "\"cert\" needs TLS; set listen.tls.mode to \"require\" or \"allow\"",
            );
        } else if tls.client_ca.is_none() {
            self.conflict(&[key, "listen.tls.client_ca"], "\"cert\" needs listen.tls.client_ca to judge certificates");
        }
    }

    /// The pool as such, then as each database, each user and each pair changes it; what is wrong in a simpler
    /// form is not said again.
    fn pools(&mut self) {
        let config = self.config;
        if self.pool(&config.pool, &["pool"]) {
            return;
        }
        let changes = |pool: &PoolOverride| *pool != PoolOverride::default();
        let databases: Vec<_> = config.databases.iter().filter(|(_, database)| changes(&database.pool)).collect();
        let users: Vec<_> = config.users.iter().zip(self.users).filter(|(user, _)| changes(&user.pool)).collect();
        let wrong_users: Vec<bool> = users
            .iter()
            .map(|(user, label)| self.pool(&config.pool.clone().with(&user.pool), &[label, "pool"]))
            .collect();
        for (name, database) in databases {
            let of_database = config.pool.clone().with(&database.pool);
            let label = format!("databases.{name}");
            if self.pool(&of_database, &[&label, "pool"]) {
                continue;
            }
            for ((user, user_label), wrong) in users.iter().zip(&wrong_users) {
                if !wrong {
                    self.pool(&of_database.clone().with(&user.pool), &[user_label, &label, "pool"]);
                }
            }
        }
    }

    /// Whether something is wrong with a pool whose keys stand in these tables.
    fn pool(&mut self, pool: &Pool, tables: &[&str]) -> bool {
        let before = self.list.len();
        let place = if tables.len() > 2 { format!(" (in {})", tables[1]) } else { String::new() };
        let mut conflict = |names: &[&str], text: String| {
            let keys = tables.iter().flat_map(|table| names.iter().map(move |name| format!("{table}.{name}")));
            self.list.push(Finding { keys: keys.collect(), problem: Problem::Conflict(text) });
        };
        if pool.min_idle > pool.size {
            conflict(&["min_idle", "size"], format!("{} is more than size, {}{place}", pool.min_idle, pool.size));
        }
        let backends = pool.size + pool.max_overflow;
        if let Some(pinned) = pool.max_pinned.filter(|pinned| *pinned > backends) {
            let text = format!("{pinned} is more than size + max_overflow, {backends}{place}");
            conflict(&["max_pinned", "size", "max_overflow"], text);
        }
        self.list.len() > before
    }
}

/// Whether the kernel refuses the second of two listeners. Port 0 is a different one each time.
fn is_same_door(one: SocketAddr, other: SocketAddr) -> bool {
    let covers =
        || one.is_ipv4() == other.is_ipv4() && [one, other].iter().any(|address| address.ip().is_unspecified());
    one.port() != 0 && (one == other || one.port() == other.port() && covers())
}
