//! Who beside the pools keeps connections to PostgreSQL, and leaves a database that a command needs alone.

use std::pin::Pin;

use tokio::time::Instant;

use crate::backend::Occupant;
use crate::config::Host;
use crate::control::Control;
use crate::notify::Hub;

/// The control plane.
impl Occupant for Control {
    fn leave<'a>(
        &'a self,
        hosts: &'a [Host],
        database: &'a str,
        until: Instant,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(Self::leave(self, hosts, database, until))
    }
}

/// The shared listening backends.
impl Occupant for Hub {
    fn leave<'a>(
        &'a self,
        hosts: &'a [Host],
        database: &'a str,
        _until: Instant,
    ) -> Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        Box::pin(self.vacate(hosts, database))
    }
}
