//! The visitors: many clients on threads of their own, so that their work is not done on pgweir's.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use parking_lot::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_postgres::{Error, NoTls};
use tokio_util::sync::CancellationToken;

use super::visit::{Dice, Kind, Visitor};
use crate::stats::Times;

/// Different messages that are remembered; further ones are only counted.
const KEPT_ERRORS: usize = 10;
/// How long a visitor who was thrown out stays away.
const SULK: Duration = Duration::from_secs(1);
/// How long all visitors together take to arrive.
const ARRIVAL: Duration = Duration::from_secs(1);
/// How long a visit may still take once the shop closes.
const LAST_ORDERS: Duration = Duration::from_secs(10);

/// Running visitors. Dropping it lets them go without waiting.
#[derive(Debug)]
pub(super) struct Workload {
    tally: Arc<Mutex<Tally>>,
    stop: CancellationToken,
    threads: Vec<JoinHandle<()>>,
}

/// What visitors saw, from the first one on.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    /// Each visit that ended well, by [`Kind::ALL`].
    pub(super) visits: [Times; Kind::ALL.len()],
    pub(super) errors: u64,
    /// How often each message came, by what was being done.
    pub(super) messages: BTreeMap<String, u64>,
}

impl Tally {
    fn visit(&mut self, kind: Kind, took: Duration) {
        let visits = Kind::ALL.iter().zip(&mut self.visits);
        for (_, visits) in visits.filter(|(known, _)| **known == kind) {
            visits.record(took);
        }
    }

    /// Visitors who never got their answer.
    fn stuck(&mut self, count: usize) {
        if count > 0 {
            let count = u64::try_from(count).unwrap_or(u64::MAX);
            self.errors += count;
            *self.messages.entry(format!("no answer within {LAST_ORDERS:?} after the end")).or_default() += count;
        }
    }

    fn error(&mut self, doing: &str, error: &Error) {
        self.errors += 1;
        let told = match error.as_db_error() {
            Some(report) => format!("{doing}: {} (SQLSTATE {})", report.message(), report.code().code()),
            None => format!("{doing}: {error}"),
        };
        if let Some(count) = self.messages.get_mut(&told) {
            *count += 1;
        } else if self.messages.len() < KEPT_ERRORS {
            self.messages.insert(told, 1);
        }
    }
}

impl Workload {
    /// Lets `clients` visitors in, who log in at `address` one after the other.
    ///
    /// # Errors
    /// No thread to be had.
    pub(super) fn start(clients: usize, address: SocketAddr) -> anyhow::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = cores.clamp(1, 4).min(clients);
        let mut workload = Self { tally: Arc::default(), stop: CancellationToken::new(), threads: Vec::new() };
        for thread in 0..threads {
            let (tally, stop) = (Arc::clone(&workload.tally), workload.stop.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let seats: Vec<usize> = (thread..clients).step_by(threads).collect();
            let arrival = ARRIVAL / u32::try_from(clients).unwrap_or(u32::MAX);
            let body = move || {
                runtime.block_on(async move {
                    let mut visitors = JoinSet::new();
                    for seat in seats {
                        let late = arrival * u32::try_from(seat).unwrap_or(u32::MAX);
                        visitors.spawn(attend(seat, late, address, Arc::clone(&tally), stop.clone()));
                    }
                    let ending = async {
                        stop.cancelled().await;
                        sleep(LAST_ORDERS).await;
                    };
                    tokio::select! {
                        () = async { while visitors.join_next().await.is_some() {} } => {}
                        () = ending => {}
                    }
                    tally.lock().stuck(visitors.len());
                });
                runtime.shutdown_background();
            };
            let named = std::thread::Builder::new().name(format!("visitors-{thread}"));
            workload.threads.push(named.spawn(body).context("a thread for the workload")?);
        }
        Ok(workload)
    }

    /// What was seen so far.
    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }

    /// Lets everybody finish what is begun. Blocks, for [`LAST_ORDERS`] at most.
    pub(super) fn finish(mut self) -> Tally {
        self.stop.cancel();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        self.tally()
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// One visitor's day: comes, visits, comes back after an error, until the shop closes.
async fn attend(seat: usize, late: Duration, address: SocketAddr, tally: Arc<Mutex<Tally>>, stop: CancellationToken) {
    let mut pause = late;
    let mut seed = u64::try_from(seat).unwrap_or(0);
    while stop.run_until_cancelled(sleep(pause)).await.is_some() {
        seed = seed.wrapping_add(1 << 32);
        match stay(Dice::new(seed), address, &tally, &stop).await {
            Ok(()) => return,
            Err((doing, error)) => tally.lock().error(doing, &error),
        }
        pause = SULK;
    }
}

/// From login to the shop's end, or to an error that says what was being done.
async fn stay(
    dice: Dice,
    address: SocketAddr,
    tally: &Mutex<Tally>,
    stop: &CancellationToken,
) -> Result<(), (&'static str, Error)> {
    let mut login = tokio_postgres::Config::new();
    login.host(address.ip().to_string()).port(address.port()).user("shop").dbname("shop");
    login.application_name("shop visitor");
    let (client, connection) = login.connect(NoTls).await.map_err(|error| ("login", error))?;
    let connection = tokio::spawn(connection);
    let mut visitor = Visitor::new(client, dice).await.map_err(|error| ("prepare", error))?;
    while !stop.is_cancelled() {
        let kind = visitor.chooses();
        let begun = Instant::now();
        visitor.visits(kind).await.map_err(|error| (kind.name(), error))?;
        tally.lock().visit(kind, begun.elapsed());
        let pause = Duration::from_millis(visitor.thinks_for());
        if stop.run_until_cancelled(sleep(pause)).await.is_none() {
            break;
        }
    }
    // Its end says Terminate, which the connection sends.
    drop(visitor);
    let _ = connection.await;
    Ok(())
}
