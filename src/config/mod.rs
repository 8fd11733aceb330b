//! Configuration: the written form (TOML, URL and environment) becomes the checked form that everything else reads.
//!
//! It knows nothing of sockets, pools or PostgreSQL, and opens no file but the one it is asked to read.
//!
//! Start at [`model`] for what can be set and at `schema` for how each key is written, its default and its meaning;
//! that one table drives reading, environment, hints, [`effective()`] and [`reference_page`].
//! The way of a value: `file`, `url` and `environment` lay it into a `draft`, `check` judges the whole,
//! `form` turns it into the model; [`Config::pool_for`] and its kin answer questions, [`Live`] lets it change.

mod check;
mod draft;
mod effective;
mod environment;
mod file;
mod form;
mod kind;
mod live;
mod mistake;
pub mod model;
mod reference;
mod resolve;
mod schema;
mod secret;
mod url;
mod value;

use std::path::PathBuf;

use draft::Draft;
use secret::{SecretForm, form_of};

pub use effective::{Entry, effective, entries};
pub use live::{Change, Changes, Live, diff};
pub use mistake::{Mistake, Mistakes, Origin, Problem, nearest};
pub use model::*;
pub use reference::reference_page;
pub use resolve::Target;
pub use schema::Applies;

/// Where a configuration comes from. Later ones win: defaults, file, URL, environment.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// `postgres://user:password@host:port/dbname?sslmode=…`, the server to stand in front of.
    pub url: Option<String>,
    /// Names and values; only names that begin with `PGWEIR_` are looked at.
    pub env: Vec<(String, String)>,
}

impl Sources {
    /// The sources of this process. With neither a file nor a URL, `DATABASE_URL` is the URL.
    /// Variables that are not UTF-8 are left out.
    #[must_use]
    pub fn of_process(file: Option<PathBuf>, url: Option<String>) -> Self {
        let text = |os: std::ffi::OsString| os.into_string().ok();
        let all: Vec<(String, String)> = std::env::vars_os().filter_map(|(k, v)| Some((text(k)?, text(v)?))).collect();
        let from_env = || all.iter().find(|(name, _)| name == "DATABASE_URL").map(|(_, value)| value.clone());
        let url = if file.is_none() { url.or_else(from_env) } else { url };
        let env = all.iter().filter(|(name, _)| name.starts_with(environment::PREFIX)).cloned().collect();
        Self { file, url, env }
    }
}

/// A checked configuration and where each of its values came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    pub origins: Origins,
}

impl Loaded {
    /// Whether the file holds what anybody who reads it could log in with: passwords, and md5 secrets, which serve as
    /// such. A SCRAM-SHA-256 secret does not.
    #[must_use]
    pub fn has_passwords_in_file(&self) -> bool {
        let Config { users, control, admin, .. } = &self.config;
        let of_users = users.iter().flat_map(|user| {
            let own = [("password", &user.password), ("backend_password", &user.backend_password)];
            own.map(|(key, secret)| (format!("users.{}.{key}", user.name), secret.as_ref()))
        });
        let of_pgweir = [
            ("control.password".to_owned(), control.as_ref().map(|control| &control.password)),
            ("admin.password".to_owned(), admin.password.as_ref()),
        ];
        of_users.chain(of_pgweir).any(|(key, secret)| {
            let logs_in = |secret: &Secret| matches!(form_of(secret.reveal()), SecretForm::Plain | SecretForm::Md5);
            secret.is_some_and(logs_in) && matches!(self.origins.get(&key), Origin::File { .. })
        })
    }
}

/// Where each value came from, by key: `pool.size`, `databases.app.size`, `users.bob.password`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origins(std::collections::BTreeMap<String, Origin>);

impl Origins {
    /// The origin of one key; [`Origin::Default`] for what nobody wrote.
    #[must_use]
    pub fn get(&self, key: &str) -> Origin {
        self.0.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// Reads all sources and checks the whole.
///
/// # Errors
/// Every mistake of every source, in the order of the file's lines.
pub fn load(sources: &Sources) -> Result<Loaded, Mistakes> {
    let Some(path) = &sources.file else {
        return assemble(None, sources.url.as_deref(), &sources.env);
    };
    let name = path.display().to_string();
    match std::fs::read(path).and_then(text_of) {
        Ok(text) => assemble(Some((&name, &text)), sources.url.as_deref(), &sources.env),
        Err(error) => Err(Mistakes::unreadable(name, &error)),
    }
}

/// The text of a file; where there is none, an error that says in which line.
fn text_of(bytes: Vec<u8>) -> std::io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let before = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        std::io::Error::new(std::io::ErrorKind::InvalidData, format!("line {line} is not valid UTF-8"))
    })
}

/// As [`load`], from a text: `name` is what messages call it.
///
/// # Errors
/// As [`load`].
pub fn check_text(name: &str, text: &str, env: &[(String, String)]) -> Result<Loaded, Mistakes> {
    assemble(Some((name, text)), None, env)
}

fn assemble(file: Option<(&str, &str)>, url: Option<&str>, env: &[(String, String)]) -> Result<Loaded, Mistakes> {
    let mut draft = Draft::new(file.map(|(name, _)| name));
    if let Some((name, text)) = file {
        file::lay(&mut draft, name, text);
    }
    if let Some(url) = url {
        url::lay(&mut draft, url);
    }
    environment::lay(&mut draft, env);
    draft.finish()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_of_checks;
