//! What is written, read, refused and answered.

mod answers;
mod any_text;
mod change;
mod console;
mod mistakes;
mod places;
mod reference;

use std::time::Duration;

use super::draft::{add_defaults, default_of};
use super::mistake::nearest;
use super::schema::{Applies, SECTIONS, Shape, Unwritten};
use super::value::{Raw, Sheet, Value};
use super::*;

const USERS: &str = "[[users]]\nname = \"app\"\npassword = \"secret\"\n";
const README_EXAMPLE: &str = r#"
[listen]
address = "127.0.0.1:6432"        # or a list
auth = "scram-sha-256"            # scram-sha-256 | md5 | password | trust | cert; a user may differ
[server]
host = "127.0.0.1"
port = 5432
[pool]
mode = "transaction"
size = 20
max_overflow = 10
[control]                         # who the control plane logs in as; what needs it is off without it, and says so
user = "pgweir"
password = "…"
[[users]]
name = "postgres"                 # "*" for any
password = "postgres"             # or a SCRAM / md5 secret as PostgreSQL stores it
auth = "scram-sha-256"
"#;

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn loaded(text: &str) -> Loaded {
    check_text("proxy.toml", text, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// What a user sees of the mistakes in `text`, with a user added unless it has one.
fn seen(text: &str) -> String {
    let text = if text.contains("users") { text.to_owned() } else { format!("{text}\n{USERS}") };
    check_text("proxy.toml", &text, &[]).expect_err("has mistakes").to_string()
}

fn with_env(text: &str, pairs: &[(&str, &str)]) -> Result<Loaded, Mistakes> {
    check_text("proxy.toml", &format!("{text}\n{USERS}"), &env(pairs))
}

fn from_url(url: &str) -> Result<Loaded, Mistakes> {
    load(&Sources { file: None, url: Some(url.to_owned()), env: Vec::new() })
}

fn defaults() -> Config {
    let mut sheet = Sheet::default();
    add_defaults(&mut sheet);
    Config::read(&sheet)
}

fn in_repository(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(in_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}
