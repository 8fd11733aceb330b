//! The reference page, `docs/configuration.md`, written from the table of keys.

use std::fmt::Write;

use super::environment::variable;
use super::schema::{Applies, Key, SECTIONS, Section, Shape, Unwritten};

const INTRODUCTION: &str = r#"# Configuration

This page is written from the table of keys in `src/config/schema.rs`; a test fails when it is out of date and says
how to write it anew. `proxy.toml` is the same as a file to start from.

## Sources

Later ones win, key by key:

1. the defaults on this page,
2. the file: `pgweir --config proxy.toml`,
3. a URL: `pgweir --url postgres://user:password@host:5432/dbname?sslmode=require`; without file and `--url`, the
   variable `DATABASE_URL`,
4. variables: `PGWEIR_SECTION__KEY`.

`pgweir check [FILE]` prints what holds and where each value came from, or every mistake with its line, what was
expected and the nearest valid key. Unknown keys are mistakes everywhere. It looks at the files and folders that are
named, too, and finds a certificate, a key or a folder with which pgweir could not start. SIGHUP reads the file again; a
file with mistakes changes nothing. Keys marked *at login* hold for clients that log in after that; those marked *at
start* keep their value until the next start.

**URL.** It gives `host`, `port` and `[server.tls]`, and one user with that name and password; every database name
passes through. Without a password, `auth` is `trust`, which only clients on this machine may use. Several hosts
(`h1:5432,h2:5433`), a unix socket (`postgres:///?host=/run/postgresql`) and percent signs are read as libpq does.
Parameters: `host`, `port`, `user`, `password`, `dbname`, `sslmode`, `sslrootcert`, `sslcert`, `sslkey`,
`connect_timeout`; `application_name` is each client's own. Others are mistakes.

**Variables.** `PGWEIR_POOL__SIZE=40` is `size` of `[pool]`; `PGWEIR_LISTEN__TLS__MODE` is `mode` of `[listen.tls]`;
a list is separated by commas. `PGWEIR_USERS__bob__PASSWORD` and `PGWEIR_DATABASES__app__SIZE` set a key of the user
bob and of the database app (or of the only one so named in another letter case), which come into being if need be.

## Units

- **Durations** are texts with a unit: `"100ms"`, `"30s"`, `"10m"`, `"1h 30m"`, `"2d"`. Where one may be off, write
  `"off"` or `false`.
- **Sizes** are bytes, or texts with a unit: `"64KB"`, `"16MB"`, `"1GB"` (powers of 1024, as in PostgreSQL).
- **Hosts** are names, IP addresses, or folders of unix sockets (they begin with `/`), alone or as a list.
- **Secrets** are passwords, or what PostgreSQL stores for them.

## Passwords

The file is for its owner alone while a password stands in it, and so is a TLS key: `chmod 600`. Where all users of the
machine may read one, `pgweir check` and the start of pgweir warn; neither fails.

A `SCRAM-SHA-256$…` secret as `password`, with the method `scram-sha-256`, needs no password in plain: the keys that a
client proves also log in at the server. That works where PostgreSQL holds **the same secret**, with its salt, and there
are two ways to that:

- take PostgreSQL's: `SELECT rolpassword FROM pg_authid WHERE rolname = 'app'`;
- or make one and give it to PostgreSQL. `pgweir hash-password --user app` reads a password from standard input, prints
  its secret, and to standard error the `ALTER ROLE "app" PASSWORD 'SCRAM-SHA-256$…'` that PostgreSQL must be told.

Where PostgreSQL holds another, as it does after `ALTER ROLE app PASSWORD 'the same password'`, clients read "the
server's SCRAM secret … has another salt". With a `backend_password` in plain the two need not agree.

`hash-password --md5 --user app` makes the old form, which PostgreSQL must hold likewise. Within TLS a client may bind
its login to the connection (`channel_binding=require`).

## Examples

The smallest file:

```toml
[[users]]
name = "app"
password = "secret"
```

Two databases on two servers, one with a small session pool, and two users, of whom `app` goes first where backends are
short:

```toml
[databases.app]
host = ["db1", "db2:5433"]
dbname = "app_production"

[databases.reports]
host = "/run/postgresql"
mode = "session"
size = 5

[[users]]
name = "app"
password = "secret"
priority = 7

[[users]]
name = "analyst"
password = "another secret"
```
"#;

/// The whole page, in Markdown.
#[must_use]
pub fn reference_page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for section in SECTIONS {
        let row = |key: &Key| row(section, key);
        let rows: String = section.keys.iter().map(row).collect();
        let header = section.header();
        let done = write!(
            page,
            "\n## `{header}`\n\n{}\n\n| key | default | written as | meaning |\n|---|---|---|---|\n{rows}",
            section.meaning
        );
        debug_assert!(done.is_ok(), "a String takes every text");
    }
    page
}

fn row(section: &Section, key: &Key) -> String {
    let default = match key.default {
        Unwritten::Absent { example } => format!("not set, e.g. `{example}`"),
        Unwritten::Default(text) => format!("`{text}`"),
    };
    let applies = match key.applies {
        Applies::AtOnce => "",
        Applies::AtLogin => " *At login.*",
        Applies::AtStart => " *At start.*",
    };
    let name = match section.shape {
        Shape::Single => format!("`{}`<br>`{}`", key.name, variable(section, key.name)),
        Shape::Listed | Shape::Named => format!("`{}`", key.name),
    };
    let cell = |text: &str| text.replace('|', "\\|");
    format!("| {name} | {} | {} | {}{applies} |\n", cell(&default), cell(&key.kind.expected()), cell(key.meaning))
}
