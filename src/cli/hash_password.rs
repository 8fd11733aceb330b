//! `pgweir hash-password`: from a password to the secret that stands in a configuration instead of it.

use std::io::{BufRead, IsTerminal, Write};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use crate::auth::{self, DEFAULT_ITERATIONS, Md5Hash, ScramSecret};

/// In which form the secret is stored.
#[derive(Debug, Clone)]
pub(super) enum Form {
    /// The user is part of what is hashed.
    Md5 {
        user: String,
    },
    ScramSha256,
}

/// Reads a password from standard input, one line, and returns its secret as PostgreSQL stores it.
///
/// # Errors
/// There is no password, or no randomness for the salt.
pub(super) fn secret(form: &Form) -> anyhow::Result<String> {
    let password = read_password()?;
    ensure!(!password.is_empty(), "an empty password lets nobody in");
    ensure!(!password.contains('\0'), "PostgreSQL takes no password with a zero byte");
    Ok(match form {
        Form::Md5 { user } => Md5Hash::of(user, password.as_bytes()).reveal(),
        Form::ScramSha256 => {
            let salt = auth::random::<16>()?;
            ScramSecret::from_password(&password, &salt, DEFAULT_ITERATIONS).reveal()
        }
    })
}

/// The statement that gives PostgreSQL the same secret; `NAME` stands for a role that nobody has named.
pub(super) fn statement_for_the_server(role: Option<&str>, secret: &str) -> String {
    let role = role.map_or_else(|| "NAME".to_owned(), |role| format!("\"{}\"", role.replace('"', "\"\"")));
    format!("ALTER ROLE {role} PASSWORD '{secret}';")
}

fn read_password() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return read_line();
    }
    let mut stderr = std::io::stderr();
    let hidden = echo(false);
    if !hidden {
        writeln!(stderr, "(what is typed will be seen: this terminal cannot be told to hide it)")?;
    }
    write!(stderr, "Password: ")?;
    stderr.flush()?;
    let line = read_line();
    if hidden {
        echo(true);
        writeln!(stderr)?;
    }
    line
}

fn read_line() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("reading the password from standard input")?;
    Ok(line.trim_end_matches(['\n', '\r']).to_owned())
}

/// Tells the terminal whether to show what is typed; false if it can't be told.
fn echo(on: bool) -> bool {
    let mode = if on { "echo" } else { "-echo" };
    Command::new("stty").arg(mode).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_statement_names_the_role_whatever_its_name() {
        assert_eq!(statement_for_the_server(Some(r#"a"b"#), "md5…"), r#"ALTER ROLE "a""b" PASSWORD 'md5…';"#);
        assert_eq!(statement_for_the_server(None, "md5…"), "ALTER ROLE NAME PASSWORD 'md5…';");
    }
}
