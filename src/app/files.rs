//! How many clients there is room for: no more than `listen.max_clients`, nor than the system lets pgweir have open
//! files, as every client and every backend is one. Who is refused is told so; who cannot be accepted would wait.

use crate::config::Config;

/// Listeners, event queues, the log, and connections that come and go.
const OTHERS: u64 = 64;

/// Clients at once, where `files` may be open. At least half of the files are theirs, however large pools may grow.
pub(super) fn room_for_clients(config: &Config, files: u64) -> usize {
    let backends = config.server.max_connections.unwrap_or(config.pool.size + config.pool.max_overflow);
    let others = OTHERS.saturating_add(u64::try_from(backends).unwrap_or(u64::MAX));
    let room = files.saturating_sub(others).max(files / 2);
    config.listen.max_clients.min(usize::try_from(room).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Sources};

    #[test]
    fn files_that_are_few_are_shared_with_backends() {
        let url = Some("postgres://127.0.0.1".to_owned());
        let mut config = config::load(&Sources { url, ..Sources::default() }).expect("a configuration").config;
        config.listen.max_clients = 10_000;
        (config.pool.size, config.pool.max_overflow) = (20, 10);
        assert_eq!(room_for_clients(&config, u64::MAX), 10_000);
        assert_eq!(room_for_clients(&config, 1024), 1024 - 64 - 30);
        config.server.max_connections = Some(900);
        assert_eq!(room_for_clients(&config, 1024), 512);
    }
}
