//! What is in effect, and what the configuration answers.

use super::*;

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

#[test]
fn a_user_that_the_environment_calls_otherwise_is_shown_whole() {
    let loaded = check_text("proxy.toml", USERS, &env(&[("PGWEIR_USERS__app__NAME", "carl")])).expect("valid");
    let shown = effective(&loaded);
    let user: Vec<_> = shown.lines().skip_while(|line| *line != "[[users]]").skip(1).take(2).collect();
    assert!(user[0].starts_with("name = \"carl\"") && user[0].contains("PGWEIR_USERS__app__NAME"), "{shown}");
    assert!(user[1].starts_with("password = ") && user[1].contains("proxy.toml:3"), "{shown}");
}

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

#[test]
fn half_of_the_cores_have_a_worker() {
    let workers = [1, 2, 3, 4, 5, 8, 64].map(form::workers_for);
    assert_eq!(workers, [1, 1, 2, 2, 3, 4, 32]);
}
