//! What must hold between keys, and what a file gives away.

use super::{Loaded, Mistakes, check_text};

fn read(text: &str) -> Result<Loaded, Mistakes> {
    check_text("proxy.toml", text, &[])
}

fn refusal(text: &str) -> String {
    read(text).expect_err("a mistake").to_string()
}

#[test]
fn an_address_that_is_there_twice_is_a_mistake() {
    let listening =
        |addresses: &str| format!("[listen]\nauth = 'trust'\nallow_remote_trust = true\naddress = {addresses}\n");
    let refused = |addresses: &str| refusal(&listening(addresses));
    assert_eq!(
        refused("['127.0.0.1:6432', '127.0.0.1:6433', '127.0.0.1:6432']"),
        "proxy.toml:4: listen.address: 127.0.0.1:6432 is there twice"
    );
    assert_eq!(
        refused("['127.0.0.1:6432', '0.0.0.0:6432']"),
        "proxy.toml:4: listen.address: 127.0.0.1:6432 and 0.0.0.0:6432 cannot both be listened on"
    );
    for fine in
        ["['127.0.0.1:0', '127.0.0.1:0']", "['127.0.0.1:6432', '[::1]:6432']", "['0.0.0.0:6432', '0.0.0.0:6433']"]
    {
        assert!(read(&listening(fine)).is_ok(), "{fine}");
    }
}

#[test]
fn only_what_stands_in_the_file_and_logs_in_as_it_is_counts_as_a_password_of_the_file() {
    const SCRAM: &str = "SCRAM-SHA-256$4096:c2FsdA==$BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=:BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
    let has = |text: &str, env: &[(&str, &str)]| {
        let env: Vec<_> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        check_text("proxy.toml", text, &env).expect("no mistake").has_passwords_in_file()
    };
    let user = |secret: &str| format!("[[users]]\nname = 'app'\npassword = '{secret}'\n");
    assert!(has(&user("secret"), &[]));
    assert!(has(&format!("{}auth = 'md5'", user("md5900150983cd24fb0d6963f7d28e17f72")), &[]));
    assert!(!has(&user(SCRAM), &[]));
    assert!(has(&format!("{}backend_password = 'other'", user(SCRAM)), &[]));
    assert!(!has("[[users]]\nname = 'app'\n", &[("PGWEIR_USERS__app__PASSWORD", "secret")]));
    assert!(!has(&user(SCRAM), &[("PGWEIR_CONTROL__USER", "c"), ("PGWEIR_CONTROL__PASSWORD", "secret")]));
    assert!(has(&format!("{}[control]\nuser = 'c'\npassword = 'secret'", user(SCRAM)), &[]));
    assert!(has(&format!("{}[admin]\nusers = ['a']\npassword = 'secret'", user(SCRAM)), &[]));
}
