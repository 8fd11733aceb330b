//! What a replacement changes.

use super::*;

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
        section
            .keys
            .iter()
            .filter(|key| key.applies == Applies::AtStart)
            .map(|key| format!("{}.{}", section.path, key.name))
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
            "limits.buffer",
            "limits.statements",
            "limits.statement_memory",
            "limits.patterns",
            "limits.profiles",
            "log.format"
        ]
    );
}
