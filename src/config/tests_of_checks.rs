//! What must hold between keys.

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
