//! Who may enter the console.

use super::*;

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
