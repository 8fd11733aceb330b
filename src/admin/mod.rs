//! The console: a database of which pgweir itself is the server. It is spoken to as any PostgreSQL is, by psql and by
//! drivers, in the simple and the extended protocol, and answers SHOW with reports.
//!
//! It only looks: whatever it shows is asked for when somebody asks, of the parts that know it, and nothing is kept
//! here. Its sessions run on the control runtime, since a worker has better things to do than to write reports. Who may
//! enter is decided here, who a client is in `server`.
//!
//! | to read about | go to |
//! |---|---|
//! | a session's bytes and its end | `serve` |
//! | what a session does with frames, without I/O | `dialogue` |
//! | how a command is read | `ask`, `tokens`, `condition` |
//! | what drivers say to any PostgreSQL | `courtesy` |
//! | what there is to show | `reports` |
//! | values, and how they are written | `table` |

mod ask;
mod condition;
mod courtesy;
mod dialogue;
mod reports;
mod serve;
mod table;
#[cfg(test)]
mod tests;
mod tokens;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio_util::task::TaskTracker;

pub use serve::Visit;

use crate::backend::Dialer;
use crate::clients::Clients;
use crate::config::{Admin, Live};
use crate::insight::view::{PatternPlan, Repetition, Slow, Summary, Trend};
use crate::pool::Pools;
use crate::stats::LimitHits;
use crate::wire::build::{self, Fault};

/// What a client of the console may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rights {
    /// Everything.
    All,
    /// Look, but not at what clients sent as values.
    Look,
}

/// What was measured of statements.
pub trait Measured: Send + Sync {
    /// Of the last `since`, or from the start.
    fn summary(&self, since: Option<Duration>) -> Summary;
    /// Of the last `period`, compared with the one before it.
    fn trends(&self, period: Duration) -> Vec<Trend>;
    /// How PostgreSQL would run what was slow.
    fn plans(&self) -> Vec<PatternPlan>;
    fn slow(&self) -> Vec<Slow>;
    fn repetitions(&self) -> Vec<Repetition>;
}

/// All that the console can look at.
pub struct Console {
    pub config: Arc<Live>,
    pub clients: Arc<Clients>,
    pub pools: Arc<Pools<Dialer>>,
    pub limit_hits: Arc<LimitHits>,
    pub measured: Arc<dyn Measured>,
    /// Where its sessions run.
    pub runtime: Handle,
    /// Whom a drain waits for.
    pub sessions: TaskTracker,
}

impl Console {
    /// What this user may do.
    ///
    /// # Errors
    /// Nothing: the ErrorResponse for a client that has proved who it is.
    pub fn rights(&self, user: &str) -> Result<Rights, Fault> {
        rights(&self.config.current().admin, user)
    }

    /// The ParameterStatus frames of a greeting.
    #[must_use]
    pub fn statuses(&self, user: &str, application: &str) -> Vec<u8> {
        let asker = ask::Asker { user: user.to_owned(), application: application.to_owned() };
        let settings = courtesy::settings(&asker);
        settings.iter().flat_map(|(name, value)| build::parameter_status(name, value)).collect()
    }

    /// Serves a client that was greeted, to its end, on the control runtime.
    pub fn serve(self: &Arc<Self>, visit: Visit) {
        let serving = serve::serve(Arc::clone(self), visit);
        self.runtime.spawn(self.sessions.track_future(serving));
    }
}

fn rights(admin: &Admin, user: &str) -> Result<Rights, Fault> {
    let listed = |names: &[String]| names.iter().any(|name| name == user);
    if listed(&admin.users) {
        return Ok(Rights::All);
    }
    if listed(&admin.stats_users) {
        return Ok(Rights::Look);
    }
    Err(Fault::fatal("42501", format!("user \"{user}\" may not enter pgweir's console"))
        .hint("Name the user in users or stats_users of [admin] in pgweir's configuration."))
}

impl fmt::Debug for Console {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Console").finish_non_exhaustive()
    }
}
