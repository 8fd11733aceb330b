//! Who beside the pools keeps connections to PostgreSQL, and leaves a database that a command needs alone.

use std::pin::Pin;
use std::sync::Arc;

use tokio::time::Instant;

use crate::backend::Occupant;
use crate::config::Host;
use crate::control::Control;

/// The control plane.
#[derive(Debug)]
pub(super) struct ControlPlane(pub(super) Arc<Control>);

impl Occupant for ControlPlane {
    fn leave<'a>(
        &'a self,
        hosts: &'a [Host],
        database: &'a str,
        until: Instant,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.0.leave(hosts, database, until))
    }
}
