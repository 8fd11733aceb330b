//! A new configuration for a running pgweir: what can change does, what cannot is named, nobody is dropped.

use anyhow::Context;
use std::sync::Arc;
use tokio::time::Instant;

use super::Running;
use super::files::room_for_clients;
use crate::auth::{CredentialSource, Credentials};
use crate::config::Config;
use crate::net::{self, ListenTls, ServerTls};

impl Running {
    /// Applies `config`. Returns the keys that need a restart.
    ///
    /// # Errors
    /// A certificate that cannot be read; nothing has changed then.
    pub fn reload(&self, config: &Config) -> anyhow::Result<Vec<String>> {
        let listen_tls = ListenTls::load(&config.listen.tls).context("listen.tls")?;
        let server_tls = ServerTls::load(&config.server.tls).context("server.tls")?;
        let credentials = Credentials::from_config(config, Some(&self.server.credentials.load()))?;
        let changes = self.server.config.replace(config);
        let now = Instant::now();
        self.server.clients.set_limit(room_for_clients(config, net::open_files()));
        let end_point = |tls: &ListenTls| tls.end_point();
        let renewed =
            listen_tls.as_ref().and_then(end_point) != self.server.tls.load().as_ref().and_then(|tls| end_point(tls));
        self.server.tls.store(listen_tls.map(Arc::new));
        self.server.credentials.store(Arc::new(credentials));
        let current = self.server.config.current();
        self.control.reconfigure(&current, server_tls.clone());
        let known = self.server.credentials.load_full();
        self.server.routes.reconfigure(&current, server_tls, |user| known.lookup(user).map(|found| found.backend), now);
        if renewed {
            tracing::info!("listen.tls.cert holds another certificate, which new clients see from now on");
        }
        if changes.is_empty() {
            tracing::info!("configuration reloaded: no key has changed");
        } else {
            tracing::info!(changed = %changes, "configuration reloaded");
        }
        Ok(changes.needing_restart().map(str::to_owned).collect())
    }
}
