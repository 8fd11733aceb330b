//! What users see of their mistakes.

use super::*;

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
fn text_without_quotes_is_shown_with_them() {
    for (line, right) in [
        ("[pool]\nmode = transaction", "mode = \"transaction\""),
        ("[log]\nlevel = info # so", "level = \"info\""),
        ("[listen]\naddress = 127.0.0.1:6432", "address = \"127.0.0.1:6432\""),
        ("[pool]\nmode = session", "mode = \"session\""),
        ("[server]\nhost = /run/postgresql", "host = \"/run/postgresql\""),
        ("[control]\npassword = hunter2", "password = \"…\""),
    ] {
        assert_eq!(seen(line), format!("proxy.toml:2: text is written in quotes: {right}"), "{line}");
    }
    assert!(!seen("[pool]\nsize = = 5").contains("quotes"));
}

#[test]
fn an_authority_that_nobody_is_compared_with_is_a_mistake() {
    let text = "[server.tls]\nmode = \"require\"\nca = \"/ca.crt\"";
    assert!(seen(text).contains("server.tls.ca: nobody's certificate is compared with it"), "{}", seen(text));
    assert!(check_text("proxy.toml", &format!("{}{USERS}", text.replace("require", "verify-ca") + "\n"), &[]).is_ok());
}

#[test]
fn parameters_of_a_url_that_are_for_drivers_say_what_to_do() {
    for (parameter, said) in [
        ("channel_binding=require", "are not bound to their TLS"),
        ("options=-csearch_path=a", "is each client's own"),
        ("pgbouncer=true", "is for a driver"),
        ("target_session_attrs=any", "first host that lets pgweir in"),
        ("keepalives=1", "[server.keepalive]"),
        ("ssl=true", "sslmode"),
    ] {
        let mistakes = from_url(&format!("postgres://a:b@h/d?{parameter}")).expect_err(parameter).to_string();
        assert!(mistakes.contains(said), "{mistakes}");
    }
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
    assert_eq!(seen("[pool]\nsize = 1\nsize = 2\n"), "proxy.toml:3: duplicate key `size`");
}

#[test]
fn a_file_that_is_not_there_is_said_so() {
    let sources = Sources { file: Some("/nowhere/proxy.toml".into()), ..Sources::default() };
    let text = load(&sources).expect_err("no such file").to_string();
    assert!(text.starts_with("/nowhere/proxy.toml: cannot be read: "), "{text}");
}

#[test]
fn a_file_that_is_no_text_is_refused_with_its_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("proxy.toml");
    std::fs::write(&file, b"[pool]\nsize = 1 # gr\xf6\xdfer\n").unwrap();
    let sources = Sources { file: Some(file.clone()), ..Sources::default() };
    let text = load(&sources).expect_err("not UTF-8").to_string();
    assert_eq!(text, format!("{}: cannot be read: line 2 is not valid UTF-8", file.display()));
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

#[test]
fn what_is_empty_is_near_nothing_far() {
    assert_eq!(nearest("", ["size"]), None);
    assert_eq!(default_of(&SECTIONS[0].keys[0]), Value::Number(0));
}
