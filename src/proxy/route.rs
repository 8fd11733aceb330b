//! What the sessions of one database and user share.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::backend::{Administration, Dialer, Target};
use crate::clients::{Client, Clients, Names};
use crate::config::{self, ResetOnReturn};
use crate::insight::{Insight, Place};
use crate::notify::{Hub, ListenKey, Plan, Subscriber, TooManyListeners};
use crate::pool::Pool;
use crate::session::Rules;
use crate::settings::Startups;
use crate::stats::LimitHits;

/// The way from a client's database and user to its backends.
#[derive(Debug)]
pub struct Route {
    pub database: String,
    pub user: String,
    /// The same, as they stand with each of its clients.
    pub names: Arc<Names>,
    pub pool: Pool<Dialer>,
    /// Where its sessions subscribe to channels.
    pub hub: Arc<Hub>,
    pub target: Arc<Target>,
    pub rules: Arc<Rules>,
    pub startups: Arc<Startups>,
    /// Asked before and told after commands that concern other backends too.
    pub administration: Arc<Administration>,
    /// Whom process ids mean.
    pub clients: Arc<Clients>,
    pub limit_hits: Arc<LimitHits>,
    pub insight: Arc<Insight>,
    /// By what its statements are recorded.
    pub place: Place,
    /// Replaced by a reload, for sessions that live on too.
    pub limits: ArcSwap<Limits>,
}

impl Route {
    /// The way by which a session hears channels; `encoding` is its client_encoding where that differs from a fresh
    /// backend's.
    ///
    /// # Errors
    /// [`TooManyListeners`].
    pub fn subscriber(&self, encoding: Option<&[u8]>, client: &Arc<Client>) -> Result<Subscriber, TooManyListeners> {
        let key = ListenKey { pool: self.pool.key().clone(), encoding: encoding.map(Into::into) };
        self.hub.subscriber(&key, Plan::of(&self.pool), client)
    }
}

/// What bounds a session and its leases.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Limits {
    pub query_timeout: Option<Duration>,
    pub idle_in_transaction_timeout: Option<Duration>,
    pub max_lease: Option<Duration>,
    pub reset_on_return: ResetOnReturn,
    pub priority: u8,
    /// Time from which on an execution is slow.
    pub slow_threshold: Option<Duration>,
    pub messages: MessageLimits,
}

/// Bytes that a client's message may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MessageLimits {
    /// Of any kind.
    pub any: usize,
    /// One that must be held whole.
    pub held: usize,
    /// A simple query that is held whole; no more than `held`.
    pub query: usize,
}

impl Limits {
    #[must_use]
    pub fn new(pool: &config::Pool, limits: &config::Limits) -> Self {
        Self {
            query_timeout: pool.query_timeout,
            idle_in_transaction_timeout: pool.idle_in_transaction_timeout,
            max_lease: pool.max_lease,
            reset_on_return: pool.reset_on_return,
            priority: pool.priority,
            slow_threshold: pool.slow_threshold,
            messages: MessageLimits {
                any: limits.message,
                held: limits.held_message,
                query: limits.held_query.min(limits.held_message),
            },
        }
    }

    /// Whether a lease has any deadline.
    #[must_use]
    pub fn bounds_leases(&self) -> bool {
        self.query_timeout.is_some() || self.idle_in_transaction_timeout.is_some() || self.max_lease.is_some()
    }
}
