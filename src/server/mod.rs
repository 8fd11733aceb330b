//! The front door: accepting connections, TLS, startup packets, authentication, and handing each client to what
//! serves it.
//!
//! [`accept`] takes connections, `handshake` finds out what they want, `login` who they are, [`dispatch`] brings
//! a session onto its way. [`routes`] knows the way from a database and user to a pool, `budgets` what each server
//! grants. What a session does afterwards is `proxy`'s.

pub mod accept;
mod budgets;
pub mod dispatch;
mod handshake;
mod login;
mod replication;
pub mod routes;

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::Console;
use crate::auth::{Credentials, MockKey};
use crate::clients::Clients;
use crate::config::Live;
use crate::net::ListenTls;
use crate::wire::build::Fault;
use crate::wire::sqlstate;
use routes::Routes;

/// What every connection needs of the process. Built by `app`; a reload replaces parts of it.
#[derive(Debug)]
pub struct Server {
    pub config: Arc<Live>,
    pub clients: Arc<Clients>,
    pub routes: Routes,
    pub credentials: ArcSwap<Credentials>,
    pub tls: ArcSwapOption<ListenTls>,
    /// What exchanges with unknown users are made of.
    pub mock: MockKey,
    /// What answers in pgweir's own database.
    pub console: Arc<Console>,
    /// The tasks of all connections that have said who they are; nothing waits for the others.
    pub sessions: TaskTracker,
    draining: CancellationToken,
}

impl Server {
    #[must_use]
    pub fn new(
        routes: Routes,
        credentials: Credentials,
        tls: Option<ListenTls>,
        mock: MockKey,
        console: Arc<Console>,
    ) -> Self {
        let clients = Arc::clone(routes.clients());
        Self {
            config: Arc::clone(&console.config),
            clients,
            routes,
            credentials: ArcSwap::from_pointee(credentials),
            tls: ArcSwapOption::from_pointee(tls),
            mock,
            sessions: console.sessions.clone(),
            console,
            draining: CancellationToken::new(),
        }
    }

    /// From now on new clients are refused, those too who are on their way in.
    pub fn start_draining(&self) {
        self.draining.cancel();
    }

    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.is_cancelled()
    }

    /// Settles once new clients are refused, with what they are told.
    async fn refuses(&self) -> Fault {
        self.draining.cancelled().await;
        shutting_down()
    }
}

/// What libpq takes as a reason to try its next host.
fn shutting_down() -> Fault {
    Fault::fatal(sqlstate::CANNOT_CONNECT_NOW, "pgweir is shutting down")
}
