//! Environment and URL.

use super::*;

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
