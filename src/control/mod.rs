//! The control plane's own connections to PostgreSQL: an ordinary client and an ordinary pool, for questions that no
//! session asks.

use crate::config::Config;
use crate::net::ServerTls;

/// The control plane.
#[derive(Debug)]
pub struct Control;

impl Control {
    #[must_use]
    pub fn connect(_config: &Config, _tls: Option<ServerTls>) -> Option<Self> {
        None
    }

    pub fn watch(&self) {}
}
