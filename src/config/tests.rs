use std::time::Duration;

use super::draft::{add_defaults, default_of};
use super::mistake::nearest;
use super::schema::{SECTIONS, Shape, Unwritten};
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

// --- the reference file and page ---

#[test]
fn the_reference_file_yields_exactly_the_defaults() {
    let mut config = loaded(&read("proxy.toml")).config;
    let users = std::mem::take(&mut config.users);
    assert_eq!(config, defaults());
    assert_eq!(users.len(), 1);
    assert_eq!(config.pool.timeout, Duration::from_secs(30));
    assert_eq!(config.listen.max_clients, 10_000);
}

#[test]
fn the_reference_file_has_every_key_with_its_default_or_an_example() {
    let text = read("proxy.toml");
    let mut section = String::new();
    let mut there = Vec::new();
    for line in text.lines() {
        let plain = line.strip_prefix("# ").unwrap_or(line);
        if plain.starts_with('[') {
            section = plain.split_whitespace().next().unwrap_or_default().to_owned();
        } else if let Some((key, value)) = plain.split_once(" = ") {
            let value = value.split("  #").next().unwrap_or_default().trim();
            there.push(format!("{section} {}{key} = {value}", if plain == line { "" } else { "# " }));
        }
    }
    for known in SECTIONS {
        let header = known.header().replace("NAME", "app");
        for key in known.keys {
            let line = match key.default {
                Unwritten::Default(value) => format!("{header} {} = {value}", key.name),
                Unwritten::Absent { .. } if header == "[[users]]" && ["name", "password"].contains(&key.name) => {
                    continue;
                }
                Unwritten::Absent { example } => format!("{header} # {} = {example}", key.name),
            };
            assert!(there.contains(&line), "proxy.toml lacks {line}");
        }
    }
}

#[test]
fn the_commented_keys_of_the_reference_file_are_valid() {
    let is_key = |line: &str| {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        line.starts_with('[') || (rest.starts_with("= ") && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'))
    };
    let uncomment = |line: &str| match line.strip_prefix("# ") {
        Some(plain) if is_key(plain) => plain.to_owned(),
        _ => line.to_owned(),
    };
    let text: Vec<String> = read("proxy.toml").lines().map(uncomment).collect();
    let Loaded { config, .. } = loaded(&text.join("\n"));
    assert_eq!(config.control.map(|control| control.user), Some("pgweir".to_owned()));
    assert_eq!(config.databases["app"].pool.size, Some(5));
    assert_eq!(config.users[0].backend_user.as_deref(), Some("app_owner"));
    assert!(config.listen.tls.identity.is_some() && config.server.tls.identity.is_some());
}

#[test]
fn the_example_of_the_readme_is_valid_and_passes_every_database_through() {
    let config = loaded(README_EXAMPLE).config;
    assert_eq!(config.control.as_ref().map(|control| control.dbname.as_str()), Some("postgres"));
    assert_eq!(config.database_for("any").map(|target| target.dbname), Some("any".to_owned()));
}

#[test]
fn the_reference_page_is_up_to_date() {
    let page = reference_page();
    if std::env::var_os("PGWEIR_WRITE_DOCS").is_some() {
        std::fs::write(in_repository("docs/configuration.md"), &page).expect("the page can be written");
    }
    let there = std::fs::read_to_string(in_repository("docs/configuration.md")).unwrap_or_default();
    assert!(there == page, "docs/configuration.md is out of date: PGWEIR_WRITE_DOCS=1 cargo test --lib reference_page");
}

#[test]
fn every_key_has_a_default_or_example_of_its_kind_and_survives_the_way_to_the_model_and_back() {
    let written = defaults().write();
    for section in SECTIONS {
        for key in section.keys {
            if let Unwritten::Absent { example } = key.default {
                let raw = toml::de::DeValue::parse(example).map(|value| Raw::from_toml(value.get_ref()));
                assert!(key.kind.read(&raw.expect("TOML")).is_ok(), "{} = {example}", key.name);
            }
            let special = section.path == "control" || key.name == "workers";
            if section.shape == Shape::Single && !special {
                let value = written.sections[section.path].value(key.name);
                assert_eq!(*value, default_of(key), "{}.{}", section.path, key.name);
                assert!(written.sections[section.path].0.contains_key(key.name), "{}.{}", section.path, key.name);
            }
        }
        if let Some(values) = written.sections.get(section.path) {
            for name in values.0.keys() {
                assert!(section.key(name).is_some(), "{}.{name} is not in the table of keys", section.path);
            }
        }
    }
}

// --- what users see of their mistakes ---

#[test]
fn an_unknown_key_is_named_with_the_nearest() {
    assert_eq!(seen("[pool]\nsiz = 5"), "proxy.toml:2: pool.siz: unknown key; did you mean \"size\"?");
}

#[test]
fn a_key_of_another_section_is_sent_there() {
    assert_eq!(
        seen("[server]\nmax_clients = 5"),
        "proxy.toml:2: server.max_clients: unknown key; did you mean \"max_clients\" of [listen]?"
    );
    assert_eq!(
        seen("max_clients = 5"),
        "proxy.toml:1: max_clients: unknown key; did you mean \"max_clients\" of [listen]?"
    );
}

#[test]
fn an_unknown_section_is_named_with_the_nearest() {
    assert_eq!(seen("[pools]\nsize = 5"), "proxy.toml:1: pools: unknown section; did you mean [pool]?");
    assert_eq!(seen("[listen.tsl]\n"), "proxy.toml:1: listen.tsl: unknown section; did you mean [listen.tls]?");
    assert_eq!(seen("[users]\nname = \"app\""), "proxy.toml:1: users: found [users]; expected a section [[users]]");
    assert_eq!(
        seen("[[user]]\nname = \"app\"\n#users"),
        "proxy.toml:1: user: unknown section; did you mean [[users]]?"
    );
}

#[test]
fn a_plain_number_is_no_duration() {
    assert_eq!(
        seen("[pool]\ntimeout = 30"),
        "proxy.toml:2: pool.timeout: found 30; expected a duration such as \"30s\" of at least 1ms; write \"30s\""
    );
    assert_eq!(
        seen("[pool]\nrecycle = 0"),
        "proxy.toml:2: pool.recycle: found 0; expected a duration such as \"30s\" of at least 1s, or \"off\"; write \"off\""
    );
}

#[test]
fn a_quoted_number_is_no_count() {
    assert_eq!(
        seen("[pool]\nsize = \"20\""),
        "proxy.toml:2: pool.size: found \"20\"; expected a whole number from 1 to 100000; write 20 without quotes"
    );
    assert_eq!(seen("[pool]\nsize = 0"), "proxy.toml:2: pool.size: found 0; expected a whole number from 1 to 100000");
}

#[test]
fn a_wrong_word_is_named_with_the_nearest() {
    assert_eq!(
        seen("[pool]\nmode = \"transactions\""),
        "proxy.toml:2: pool.mode: found \"transactions\"; expected one of \"session\", \"transaction\", \"statement\"; \
         did you mean \"transaction\"?"
    );
}

#[test]
fn an_address_needs_ip_and_port() {
    assert_eq!(
        seen("[listen]\naddress = [\"127.0.0.1:6432\", \"::1\"]"),
        "proxy.toml:2: listen.address: found [\"127.0.0.1:6432\", \"::1\"]; expected an IP address and port such as \
         \"127.0.0.1:6432\" or \"[::]:6432\", or a list of them"
    );
    assert!(seen("[listen]\naddress = \"localhost:6432\"").ends_with("; write \"127.0.0.1:6432\""));
}

#[test]
fn a_size_out_of_range_is_refused_with_the_range() {
    assert_eq!(
        seen("[limits]\nbuffer = \"1KB\""),
        "proxy.toml:2: limits.buffer: found \"1KB\"; expected a size from 4KB to 16MB, such as \"64KB\" or a number of bytes"
    );
}

#[test]
fn keys_that_do_not_fit_together_are_named() {
    assert_eq!(seen("[pool]\nmin_idle = 30"), "proxy.toml:2: pool.min_idle: 30 is more than size, 20");
    assert_eq!(
        seen("[pool]\nsize = 5\nmax_overflow = 0\nmax_pinned = 6"),
        "proxy.toml:4: pool.max_pinned: 6 is more than size + max_overflow, 5"
    );
    assert_eq!(
        seen("[listen.tls]\nmode = \"require\"\ncert = \"a.crt\""),
        "proxy.toml:2: listen.tls.key: is needed while listen.tls.mode is \"require\""
    );
    assert_eq!(
        seen("[listen.tls]\ncert = \"a.crt\"\nkey = \"a.key\""),
        "proxy.toml:2: listen.tls.mode: is needed with a certificate: \"allow\" offers TLS, \"require\" insists on it, \
         \"disable\" is without"
    );
    assert_eq!(
        seen("[server.backoff]\nfirst = \"10s\""),
        "proxy.toml:2: server.backoff.first: 10s is longer than server.backoff.longest, 5s"
    );
    assert_eq!(seen("[control]\nuser = \"pgweir\""), "proxy.toml:2: control.password: is needed with control.user");
    assert_eq!(
        seen("[listen]\nauth = \"cert\""),
        "proxy.toml:2: listen.auth: \"cert\" needs TLS; set listen.tls.mode to \"require\" or \"allow\""
    );
}

#[test]
fn trust_is_for_this_machine_unless_allowed() {
    let text = "[listen]\naddress = \"0.0.0.0:6432\"\nauth = \"trust\"";
    assert_eq!(
        seen(text),
        "proxy.toml:3: listen.auth: \"trust\" asks for no proof, and 0.0.0.0:6432 can be reached from other machines; \
         choose another method or set listen.allow_remote_trust = true"
    );
    assert!(loaded(&format!("{text}\nallow_remote_trust = true")).config.users.is_empty());
    loaded("[listen]\naddress = [\"127.0.0.1:1\", \"[::1]:1\"]\nauth = \"trust\"");
}

#[test]
fn users_that_cannot_log_in_are_named() {
    assert_eq!(
        seen("# no users"),
        "proxy.toml: users: nobody could log in; add [[users]] with a name and a password, or name a server by --url"
    );
    assert_eq!(
        seen("[[users]]\nname = \"bob\""),
        "proxy.toml:2: users.bob.password: is needed: clients prove it by \"scram-sha-256\""
    );
    assert_eq!(
        seen("[[users]]\npassword = \"x\""),
        "proxy.toml:2: users[1].name: is needed, such as name = \"app\" or name = \"*\""
    );
    assert_eq!(seen(&format!("{USERS}{USERS}")), "proxy.toml:5: users.app.name: the user \"app\" is already there");
    assert_eq!(
        seen("[[users]]\nname = \"bob\"\npassword = \"SCRAM-SHA-256$4096:abc\""),
        "proxy.toml:3: users.bob.password: begins like a stored secret but is none; copy it whole from \
         pg_authid.rolpassword (SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey, or md5 and 32 hexadecimal digits)"
    );
}

#[test]
fn stored_secrets_log_in_only_where_they_can() {
    let key = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let scram = format!("SCRAM-SHA-256$4096:c2FsdA==${key}:{key}");
    let md5 = "md5900150983cd24fb0d6963f7d28e17f72";
    let user = |rest: &str| format!("[[users]]\nname = \"bob\"\n{rest}");
    loaded(&user(&format!("password = \"{scram}\"")));
    loaded(&user(&format!("password = \"{scram}\"\nauth = \"password\"\nbackend_password = \"plain\"")));
    loaded(&user(&format!("password = \"{md5}\"\nauth = \"md5\"")));
    assert_eq!(
        seen(&user(&format!("password = \"{scram}\"\nauth = \"password\""))),
        "proxy.toml:3: users.bob.password: a SCRAM secret logs in at the server only with the keys of a client that \
         proved it by \"scram-sha-256\"; set that method or add backend_password"
    );
    assert_eq!(
        seen(&user(&format!("password = \"{md5}\""))),
        "proxy.toml:3: users.bob.password: an md5 secret cannot be proved by \"scram-sha-256\"; set auth = \"md5\", or \
         give the password itself"
    );
    assert_eq!(
        seen(&user(&format!("password = \"{scram}\"\nbackend_user = \"owner\""))),
        "proxy.toml:4: users.bob.backend_user: the stored secret of \"bob\" cannot log in as another user; add \
         backend_password"
    );
    assert_eq!(
        seen(&user(&format!("password = \"plain\"\nbackend_password = \"{scram}\""))),
        "proxy.toml:4: users.bob.backend_password: a SCRAM secret logs in only with the keys of a client that proved \
         the same secret by \"scram-sha-256\"; give the password itself"
    );
}

#[test]
fn all_mistakes_are_told_at_once_in_the_order_of_lines() {
    let text = "[pool]\nsize = 5\ntimeout = \"soon\"\n[databases.app]\nsizes = 3\n[log]\nlevel = \"inof\"";
    assert_eq!(
        seen(text),
        "proxy.toml:3: pool.timeout: found \"soon\"; expected a duration such as \"30s\" of at least 1ms\n\
         proxy.toml:5: databases.app.sizes: unknown key; did you mean \"size\"?\n\
         proxy.toml:7: log.level: found \"inof\"; expected a log filter such as \"info\" or \"pgweir=debug,warn\"; \
         \"inof\" may mean \"info\""
    );
}

#[test]
fn text_that_is_no_toml_is_refused_with_its_line() {
    let text = seen("[pool]\nsize = \n");
    assert!(text.starts_with("proxy.toml:2: "), "{text}");
    let text = seen("[pool]\nsize = 1\nsize = 2\n");
    assert!(text.starts_with("proxy.toml:3: "), "{text}");
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let sources = Sources { file: Some("/nowhere/proxy.toml".into()), ..Sources::default() };
    let text = load(&sources).expect_err("no such file").to_string();
    assert!(text.starts_with("/nowhere/proxy.toml: cannot be read: "), "{text}");
}

#[test]
fn secrets_are_never_shown() {
    let text = seen("[[users]]\nname = \"bob\"\npassword = 31337");
    assert_eq!(
        text,
        "proxy.toml:3: users.bob.password: found a number; expected a password or a stored secret as text"
    );
    let loaded = loaded("[[users]]\nname = \"bob\"\npassword = \"hunter2\"");
    assert!(!effective(&loaded).contains("hunter2"));
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

// --- environment ---

#[test]
fn variables_win_over_the_file_and_are_its_origin() {
    let text = "[pool]\nsize = 5\nmode = \"session\"";
    let pairs = [
        ("PGWEIR_POOL__SIZE", "40"),
        ("PGWEIR_LISTEN__ADDRESS", "127.0.0.1:1, [::1]:2"),
        ("PGWEIR_LISTEN__KEEPALIVE__IDLE", "off"),
        ("PGWEIR_CONTROL__USER", "watcher"),
        ("PGWEIR_CONTROL__PASSWORD", "12345"),
        ("PGWEIR_LIMITS__BUFFER", "32KB"),
        ("PGWEIR_POOL__PRE_PING", "true"),
        ("PGWEIR_WRITE_DOCS", "1"),
        ("PATH", "/bin"),
    ];
    let Loaded { config, origins } = with_env(text, &pairs).expect("valid");
    assert_eq!((config.pool.size, config.pool.mode), (40, PoolMode::Session));
    assert_eq!(config.listen.addresses.len(), 2);
    assert_eq!(config.listen.keepalive.idle, None);
    assert_eq!(config.control.map(|control| control.password.reveal().to_owned()), Some("12345".to_owned()));
    assert_eq!((config.limits.buffer, config.pool.pre_ping), (32 << 10, PrePing::Always));
    assert_eq!(origins.get("pool.size").to_string(), "PGWEIR_POOL__SIZE");
    assert_eq!(origins.get("pool.mode").to_string(), "proxy.toml:3");
    assert_eq!(origins.get("pool.timeout").to_string(), "default");
}

#[test]
fn variables_reach_users_and_databases_by_name() {
    let pairs = [
        ("PGWEIR_USERS__APP__PASSWORD", "new"),
        ("PGWEIR_USERS__other__PASSWORD", "other"),
        ("PGWEIR_DATABASES__my__db__SIZE", "3"),
    ];
    let Loaded { config, .. } = with_env("", &pairs).expect("valid");
    let password = |name: &str| config.user_for(name).and_then(|user| user.password.as_ref()).map(Secret::reveal);
    assert_eq!((password("app"), password("other")), (Some("new"), Some("other")));
    assert_eq!(config.databases["my__db"].pool.size, Some(3));
}

#[test]
fn unknown_variables_are_mistakes_with_the_nearest() {
    let seen = |name: &str| with_env("", &[(name, "1")]).expect_err("unknown").to_string();
    assert_eq!(seen("PGWEIR_POOL__SIZ"), "PGWEIR_POOL__SIZ: unknown variable; did you mean PGWEIR_POOL__SIZE?");
    assert_eq!(seen("PGWEIR_POOL_SIZE"), "PGWEIR_POOL_SIZE: unknown variable; did you mean PGWEIR_POOL__SIZE?");
    assert_eq!(
        seen("PGWEIR_POOL__MODE"),
        "PGWEIR_POOL__MODE: pool.mode: found \"1\"; expected one of \"session\", \"transaction\", \"statement\""
    );
    assert_eq!(
        seen("PGWEIR_USERS__app__PASSWRD"),
        "PGWEIR_USERS__app__PASSWRD: unknown variable; did you mean PGWEIR_USERS__app__PASSWORD?"
    );
    assert!(with_env("", &[("PGWEIR_SERVER_PORT", "tcp://10.0.0.1:6432")]).is_ok());
}

// --- URL ---

#[test]
fn a_url_gives_server_and_user() {
    let Loaded { config, origins } =
        from_url("postgres://bob:p%40ss@db1:5433,db2:5434/app?sslmode=require&sslrootcert=/ca.pem&connect_timeout=3")
            .expect("valid");
    let host = |name: &str, port| Host::Tcp { name: name.into(), port };
    assert_eq!(config.server.hosts, [host("db1", 5433), host("db2", 5434)]);
    assert_eq!(config.server.tls.mode, ServerTlsMode::VerifyCa);
    assert_eq!(config.server.connect_timeout, Duration::from_secs(3));
    assert_eq!(config.users[0].name, "bob");
    assert_eq!(config.users[0].password.as_ref().map(Secret::reveal), Some("p@ss"));
    assert_eq!(config.listen.auth, AuthMethod::ScramSha256);
    assert_eq!(origins.get("server.host"), Origin::Url);
}

#[test]
fn a_url_without_password_trusts_this_machine() {
    let config = from_url("postgresql:///app?host=/run/postgresql").expect("valid").config;
    assert_eq!(config.server.hosts, [Host::Unix { path: "/run/postgresql/.s.PGSQL.5432".into() }]);
    assert_eq!((config.listen.auth, config.users.len()), (AuthMethod::Trust, 0));
    let config = from_url("postgres://bob@[::1]").expect("valid").config;
    assert_eq!(config.server.hosts, [Host::Tcp { name: "::1".into(), port: 5432 }]);
    assert_eq!(config.users[0].password, None);
    let remote = Sources {
        url: Some("postgres://db".into()),
        env: env(&[("PGWEIR_LISTEN__ADDRESS", "0.0.0.0:6432")]),
        file: None,
    };
    assert!(load(&remote).is_err());
}

#[test]
fn wrong_urls_are_refused_without_their_password() {
    let seen = |url: &str| from_url(url).expect_err("wrong").to_string();
    assert_eq!(seen("postgres://db?sslmod=require"), "url: sslmod: unknown parameter; did you mean \"sslmode\"?");
    assert!(
        seen("postgres://db?colour=red").starts_with("url: colour: unknown parameter; known are application_name, ")
    );
    assert!(seen("mysql://db").starts_with("url: does not begin with postgres://; expected postgres://"));
    assert!(seen("postgres://db:port/").starts_with("url: server.port: found \"port\"; expected a whole number"));
    for url in ["postgres://bob:hun%zzter2@db", "postgres://bob:hun/ter2@db", "postgres://bob:hun?ter2@db"] {
        let text = seen(url);
        assert!(!text.contains("hun") && !text.contains("ter2"), "{text}");
    }
}

// --- effective ---

#[test]
fn the_effective_configuration_is_valid_toml_with_every_key_and_its_source() {
    let text =
        format!("[pool]\nsize = 7\n[databases.\"my db\"]\nport = 5433\nmax_lease = \"off\"\n{USERS}priority = 7\n");
    let loaded = check_text("proxy.toml", &text, &env(&[("PGWEIR_LOG__LEVEL", "debug")])).expect("valid");
    let shown = effective(&loaded);
    let line = |part: &str| shown.lines().find(|line| line.starts_with(part)).unwrap_or_default().to_owned();
    let squeezed = |part: &str| line(part).split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed("size"), "size = 7 # proxy.toml:2");
    assert_eq!(squeezed("level"), "level = \"debug\" # PGWEIR_LOG__LEVEL");
    assert_eq!(squeezed("timeout"), "timeout = \"30s\" # default");
    assert_eq!(squeezed("password"), "password = \"…\" # proxy.toml:8");
    assert_eq!(squeezed("[databases"), "[databases.\"my db\"]");
    assert_eq!(squeezed("# unix_socket"), "# unix_socket is not set");
    let mut again = check_text("again", &shown, &[]).unwrap_or_else(|m| panic!("{m}\n{shown}")).config;
    again.users[0].password.clone_from(&loaded.config.users[0].password);
    assert_eq!(again, loaded.config);
}

// --- answers ---

#[test]
fn a_pool_is_that_of_the_section_then_the_database_then_the_user() {
    let text = "[databases.app]\nsize = 5\nmode = \"session\"\nrecycle = \"off\"\n[databases.\"*\"]\nsize = 3\n\
                [[users]]\nname = \"bob\"\npassword = \"x\"\nsize = 2\n[[users]]\nname = \"*\"\npassword = \"x\"\npriority = 1\n";
    let config = loaded(text).config;
    let pool = config.pool_for("app", "bob");
    assert_eq!((pool.size, pool.mode, pool.recycle, pool.priority), (2, PoolMode::Session, None, 5));
    let pool = config.pool_for("other", "ann");
    assert_eq!((pool.size, pool.mode, pool.priority), (3, PoolMode::Transaction, 1));
    assert_eq!(pool.recycle, Some(Duration::from_secs(3600)));
}

#[test]
fn pools_are_checked_for_each_pair_that_changes_them() {
    let text = "[databases.app]\nsize = 5\n[[users]]\nname = \"bob\"\npassword = \"x\"\nmin_idle = 10\n";
    assert_eq!(seen(text), "proxy.toml:6: users.bob.min_idle: 10 is more than size, 5 (in databases.app)");
}

#[test]
fn a_database_is_found_by_name_then_star_then_not_at_all() {
    let config = loaded(&format!("[databases.app]\ndbname = \"real\"\nport = 5433\n{USERS}")).config;
    let target = config.database_for("app").expect("known");
    assert_eq!(target.dbname, "real");
    assert_eq!(target.hosts, [Host::Tcp { name: "127.0.0.1".into(), port: 5433 }]);
    assert_eq!(config.database_for("other"), None);
    let config = loaded(&format!("[databases.\"*\"]\nhost = [\"a\", \"b:1\", \"/run\"]\n{USERS}")).config;
    let target = config.database_for("other").expect("star");
    let tcp = |name: &str, port| Host::Tcp { name: name.into(), port };
    let unix = Host::Unix { path: "/run/.s.PGSQL.5432".into() };
    assert_eq!((target.hosts, target.dbname.as_str()), (vec![tcp("a", 5432), tcp("b", 1), unix], "other"));
}

// --- change ---

#[test]
fn a_replacement_says_what_changed_and_keeps_what_needs_a_restart() {
    let old = loaded(USERS).config;
    let text = "[process]\nworkers = 77\n[listen]\naddress = \"127.0.0.1:7000\"\nmax_clients = 5\n[pool]\nsize = 9\n\
                [limits]\nbuffer = \"8KB\"\n[databases.app]\n[[users]]\nname = \"app\"\npassword = \"new\"\n\
                [[users]]\nname = \"bob\"\npassword = \"x\"\n";
    let new = loaded(text).config;
    let live = Live::new(old.clone());
    let changes = live.replace(&new);
    assert_eq!(
        changes.to_string(),
        "process.workers (at the next start), listen.address (at the next start), listen.max_clients, pool.size, \
         limits.buffer (at the next start), databases.app, users.app.password, users.bob"
    );
    assert_eq!(changes.needing_restart().collect::<Vec<_>>(), ["process.workers", "listen.address", "limits.buffer"]);
    assert!(changes.touch("pool") && changes.touch("users.app") && !changes.touch("server") && !changes.touch("po"));
    let now = live.current();
    assert_eq!((now.pool.size, now.listen.max_clients), (9, 5));
    assert_eq!((now.process.workers, now.limits.buffer), (old.process.workers, old.limits.buffer));
    assert_eq!(now.listen.addresses, old.listen.addresses);
    assert_eq!((&now.users, &now.databases, &now.control), (&new.users, &new.databases, &new.control));
    assert_eq!(live.replace(&new).needing_restart().count(), 3);
}

#[test]
fn equal_configurations_do_not_differ() {
    let config = loaded(README_EXAMPLE).config;
    assert!(diff(&config, &config.clone()).is_empty());
}

#[test]
fn the_keys_that_need_a_restart_are_these() {
    let fixed = SECTIONS.iter().flat_map(|section| {
        section.keys.iter().filter(|key| !key.live).map(|key| format!("{}.{}", section.path, key.name))
    });
    assert_eq!(
        fixed.collect::<Vec<_>>(),
        [
            "process.workers",
            "process.pin_workers",
            "process.batch_scheduling",
            "listen.address",
            "listen.unix_socket",
            "listen.unix_socket_mode",
            "listen.backlog",
            "insight.enabled",
            "insight.sample_parameters",
            "insight.tags",
            "insight.store",
            "insight.plans",
            "limits.buffer"
        ]
    );
}

#[test]
fn what_is_empty_is_near_nothing_far() {
    assert_eq!(nearest("", ["size"]), None);
    assert_eq!(default_of(&SECTIONS[0].keys[0]), Value::Number(0));
}

mod any_text {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn is_read_or_refused_as_a_url(text in "\\PC{0,60}", head in "postgres://[a-z:@/?,%\\[\\].=&0-9é]{0,40}") {
            let _ = from_url(&text).map_err(|mistakes| mistakes.to_string());
            let _ = from_url(&head).map_err(|mistakes| mistakes.to_string());
        }

        #[test]
        fn is_read_or_refused_as_a_file_or_variable(text in "\\PC{0,60}", value in "[-0-9a-zé\\[\\]:./, \"]{0,12}") {
            let _ = check_text("any", &text, &[]).map_err(|mistakes| mistakes.to_string());
            for section in SECTIONS {
                for key in section.all_keys() {
                    let name = if section.shape == Shape::Single { "" } else { "__x" };
                    let path = section.path.replace('.', "__");
                    let variable = format!("PGWEIR_{path}{name}__{}", key.name);
                    let _ = with_env("", &[(&variable, &value)]).map_err(|mistakes| mistakes.to_string());
                    let line = format!("[{}]\n{} = {value}\n", section.path, key.name);
                    let _ = check_text("any", &line, &[]).map_err(|mistakes| mistakes.to_string());
                }
            }
        }
    }
}

// --- the console ---

#[test]
fn whoever_may_enter_the_console_must_be_able_to_prove_it() {
    let text = "[admin]\nusers = ['operator']\n";
    let seen = seen(text);
    assert!(seen.contains("admin.users") && seen.contains("\"operator\" could not prove who it is"), "{seen}");
    assert!(seen.contains("add it to [[users]] or set admin.password"), "{seen}");
    loaded(&format!("{text}password = 'secret'\n{USERS}"));
    loaded(&format!("[admin]\nstats_users = ['app']\n{USERS}"));
    loaded(&format!("{text}console = false\n{USERS}"));
}

#[test]
fn the_password_of_the_console_must_fit_the_method_of_the_listener() {
    let seen = seen("[admin]\nusers = ['operator']\npassword = 'md5aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'\n");
    assert!(seen.contains("admin.password") && seen.contains("md5 secret"), "{seen}");
}

#[test]
fn the_name_of_the_console_is_no_database_unless_there_is_none() {
    let text = "[databases.pgweir]\ndbname = 'other'\n";
    let seen = seen(text);
    assert!(seen.contains("databases.pgweir") && seen.contains("admin.console = false"), "{seen}");
    loaded(&format!("{text}[admin]\nconsole = false\n{USERS}"));
}

#[test]
fn the_user_of_a_url_may_look_at_the_console() {
    let config = from_url("postgres://app:secret@db.example/shop").expect("a URL").config;
    assert_eq!(config.admin.stats_users, ["app"]);
    assert!(config.admin.users.is_empty() && config.admin.is_console("pgweir"));
}

#[test]
fn entries_show_values_and_defaults_alike_and_no_secret() {
    let entries = entries(&loaded(&format!("[pool]\nsize = 7\n{USERS}")).config);
    let entry = |key: &str| entries.iter().find(|entry| entry.key == key).unwrap_or_else(|| panic!("{key}"));
    assert_eq!((entry("pool.size").value.as_deref(), entry("pool.size").default.as_deref()), (Some("7"), Some("20")));
    assert_eq!(entry("pool.timeout").value, entry("pool.timeout").default);
    assert_eq!(entry("server.tls.ca").value, None);
    assert!(entries.iter().all(|entry| entry.value.as_deref().is_none_or(|value| !value.contains("secret"))));
}
