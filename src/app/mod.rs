//! Wiring: builds everything from a configuration, spawns it, reloads it and drains it.
//!
//! [`start`] gives a running pgweir, which a test or the demo drives as it likes; [`run()`] is the life of the process,
//! signals included; [`unusable`] and [`exposed`] look beforehand at the files that a configuration names. Nothing here
//! decides anything about a session, a pool or a message.

mod cores;
mod demand;
mod files;
mod limits;
mod measured;
mod named_files;
mod occupancy;
mod reload;
mod run;
mod snapshot;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, anyhow};
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::cores::Cores;
use self::files::room_for_clients;
use crate::admin::Console;
use crate::auth::{Credentials, MockKey};
use crate::backend::Occupant;
use crate::clients::Signal;
use crate::config::{Config, Live};
use crate::control::Control;
use crate::insight::Insight;
use crate::net::{self, ListenTls, ServerTls, UnixDoor};
use crate::notify::{self, Hub};
use crate::proxy::Worker;
use crate::server::Server;
use crate::server::accept::{Lane, Listener, accept};
use crate::server::routes::Routes;
use crate::sql::Patterns;

pub use crate::net::raise_open_files;
pub use named_files::{exposed, unusable};
pub use run::run;
pub use snapshot::Snapshot;

/// How often pools are looked after.
const MAINTENANCE: Duration = Duration::from_secs(1);
/// How long sessions that are ended at once may take to say so.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A running pgweir. Dropping it ends everything at once.
#[derive(Debug)]
pub struct Running {
    addresses: Vec<SocketAddr>,
    unix_socket: Option<PathBuf>,
    pub(self) server: Arc<Server>,
    pub(self) control: Arc<Control>,
    limits: Arc<limits::Reported>,
    stop: CancellationToken,
    threads: Vec<std::thread::JoinHandle<()>>,
    _door: Option<UnixDoor>,
}

/// Builds and starts all that `config` describes. Must be called on a tokio runtime, which becomes the control
/// runtime: listeners and maintenance run there, sessions on threads of their own.
///
/// # Errors
/// An address that cannot be listened on, a certificate that cannot be read, no thread or randomness to be had.
pub async fn start(config: Config) -> anyhow::Result<Running> {
    let listen_tls = ListenTls::load(&config.listen.tls).context("listen.tls")?;
    let server_tls = ServerTls::load(&config.server.tls).context("server.tls")?;
    let credentials = Credentials::from_config(&config, None)?;
    let stop = CancellationToken::new();
    let hub = Hub::new(Handle::current(), stop.child_token(), Arc::default(), notify::Limits::of(&config.limits));
    let insight = Arc::new(Insight::new(&config.insight, Arc::new(Patterns::new(config.limits.patterns))));
    insight.set_budgets(config.budgets);
    if let Some(file) = config.insight.store.as_ref().filter(|_| config.insight.enabled) {
        // Its causes repeat each other, and none of them names the file.
        insight.keep_hours(file).map_err(|fault| {
            anyhow!("insight.store: cannot open \"{}\": {}", file.display(), anyhow::Error::new(fault).root_cause())
        })?;
    }
    let routes = Routes::new(&config, server_tls.clone(), TaskTracker::new(), Arc::clone(&hub), Arc::clone(&insight));
    let (listeners, addresses, door) = listen(&config)?;
    let unix_socket = door.as_ref().map(|door| door.path().to_owned());
    let cores = Arc::new(Cores::default());
    let (lanes, mut threads) = spawn_workers(&config, &insight, &cores, &stop)?;
    let stopped = stop.clone();
    tokio::spawn(async move { stopped.run_until_cancelled(cores.watch()).await });
    let control = Arc::new(Control::new(&config, server_tls));
    routes.administration().add(Arc::clone(&control) as Arc<dyn Occupant>);
    routes.administration().add(hub);
    threads.push(spawn_parser(&routes)?);
    threads.extend(spawn_merger(&insight)?);
    let live = Arc::new(Live::new(config));
    let console = Arc::new(Console {
        config: live,
        clients: Arc::clone(routes.clients()),
        pools: Arc::clone(routes.pools()),
        limit_hits: Arc::clone(routes.limit_hits()),
        measured: Arc::new(measured::Statements(Arc::clone(&insight))),
        runtime: Handle::current(),
        sessions: TaskTracker::new(),
    });
    let server = Arc::new(Server::new(routes, credentials, listen_tls, MockKey::random()?, console));
    server.clients.set_limit(room_for_clients(&server.config.current(), net::open_files()));
    for listener in listeners {
        let accepting = accept(listener, Arc::clone(&server), Arc::clone(&lanes));
        let stopped = stop.clone();
        tokio::spawn(async move {
            if let Some(Err(error)) = stopped.run_until_cancelled(accepting).await {
                tracing::error!(%error, "listening ended");
            }
        });
    }
    tokio::spawn(maintain(Arc::clone(&server), stop.clone()));
    tokio::spawn(watch(Arc::clone(&control), Arc::clone(&server), stop.clone()));
    let limits = Arc::new(limits::Reported::default());
    let (reporter, observed, stopped) = (Arc::clone(&limits), Arc::clone(&server), stop.clone());
    tokio::spawn(async move { stopped.run_until_cancelled(reporter.watch(&observed)).await });
    if let Some(plans) = insight.plans() {
        let (plans, control, server, stopped) =
            (Arc::clone(plans), Arc::clone(&control), Arc::clone(&server), stop.clone());
        tokio::spawn(async move { stopped.run_until_cancelled(plans.work(&control, &server.config)).await });
    }
    Ok(Running { addresses, unix_socket, server, control, limits, stop, threads, _door: door })
}

fn listen(config: &Config) -> anyhow::Result<(Vec<Listener>, Vec<SocketAddr>, Option<UnixDoor>)> {
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for address in &config.listen.addresses {
        let listener = net::listen_tcp(*address, config.listen.backlog)?;
        addresses.push(listener.local_addr()?);
        listeners.push(Listener::Tcp(listener));
    }
    let mut door = None;
    if let Some(folder) = &config.listen.unix_socket {
        let port = addresses.first().map_or(5432, SocketAddr::port);
        let opened = net::listen_unix(folder, port, config.listen.unix_socket_mode, config.listen.backlog)?;
        listeners.push(Listener::Unix(opened.listener()?));
        door = Some(opened);
    }
    Ok((listeners, addresses, door))
}

/// One thread with its own runtime for each worker.
fn spawn_workers(
    config: &Config,
    insight: &Insight,
    cores: &Arc<Cores>,
    stop: &CancellationToken,
) -> anyhow::Result<(Arc<[Lane]>, Vec<std::thread::JoinHandle<()>>)> {
    let (mut lanes, mut threads) = (Vec::new(), Vec::new());
    let own = if config.process.pin_workers { net::cores_for(config.process.workers) } else { Vec::new() };
    for index in 0..config.process.workers {
        let worker =
            Arc::new(Worker::new(index, config.limits.buffer, insight.is_enabled().then(|| insight.recorder())));
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        if config.process.batch_scheduling {
            let (worker, cores) = (Arc::clone(&worker), Arc::clone(cores));
            runtime.on_thread_park(move || {
                if cores.are_short() {
                    worker.let_messages_gather();
                }
            });
        }
        let runtime = runtime.enable_all().build()?;
        lanes.push(Lane { worker: Arc::clone(&worker), runtime: runtime.handle().clone() });
        let stopped = stop.clone();
        let core = own.get(index).copied();
        let batch = config.process.batch_scheduling;
        let thread = std::thread::Builder::new().name(format!("pgweir-{index}")).spawn(move || {
            if let Some(core) = core {
                net::stay_on(core);
            }
            if batch {
                net::wait_in_turn();
            }
            runtime.block_on(stopped.run_until_cancelled(worker.tick()));
            runtime.shutdown_background();
        })?;
        threads.push(thread);
    }
    Ok((lanes.into(), threads))
}

/// The thread that parses statements which need not be known before they run. Deeply nested ones need a large stack.
fn spawn_parser(routes: &Routes) -> anyhow::Result<std::thread::JoinHandle<()>> {
    let patterns = Arc::clone(routes.patterns());
    let parser = std::thread::Builder::new().name("pgweir-sql".to_owned()).stack_size(16 << 20);
    Ok(parser.spawn(move || patterns.work())?)
}

/// The thread that adds up what workers have counted.
fn spawn_merger(insight: &Arc<Insight>) -> anyhow::Result<Option<std::thread::JoinHandle<()>>> {
    let merging = Arc::clone(insight);
    let merger = std::thread::Builder::new().name("pgweir-insight".to_owned());
    let merger = insight.is_enabled().then(|| merger.spawn(move || merging.work()));
    Ok(merger.transpose()?)
}

async fn maintain(server: Arc<Server>, stop: CancellationToken) {
    let mut ticks = tokio::time::interval(MAINTENANCE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        server.routes.maintain(Instant::now());
    }
}

/// Has the control plane look at PostgreSQL, and compare it with what our pools may open there.
async fn watch(control: Arc<Control>, server: Arc<Server>, stop: CancellationToken) {
    let demand = move || demand::of(&server.config.current(), &server.routes.pools().snapshots());
    stop.run_until_cancelled(control.watch(demand)).await;
}

impl Running {
    /// Where clients connect, with the ports that were chosen.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The whole path of the unix socket, where there is one.
    #[must_use]
    pub fn unix_socket(&self) -> Option<&PathBuf> {
        self.unix_socket.as_ref()
    }

    /// What is known of the statements that have run.
    #[must_use]
    pub fn insight(&self) -> &Arc<Insight> {
        self.server.routes.insight()
    }

    /// Clients, pools and times at this moment.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        snapshot::take(&self.server)
    }

    /// Refuses new clients, lets transactions end, and closes everything: at the latest after `timeout`, or when `at_once`
    /// is ready.
    pub async fn drain(self, timeout: Duration, at_once: impl Future<Output = ()>) {
        self.server.start_draining();
        self.server.clients.signal_all(Signal::Drain);
        self.server.sessions.close();
        tokio::select! {
            () = self.server.sessions.wait() => tracing::info!("drained"),
            () = tokio::time::sleep(timeout) => tracing::warn!(
                clients = self.server.clients.logged_in(),
                "process.shutdown_timeout = {timeout:?} is over; closing the clients that are left"
            ),
            () = at_once => tracing::info!("SIGINT: ending at once"),
        }
        self.end().await;
    }

    /// Closes everything at once.
    pub async fn end(self) {
        self.server.start_draining();
        self.server.clients.signal_all(Signal::End);
        self.server.sessions.close();
        // Those who do not listen are cut off.
        let _ = tokio::time::timeout(LAST_WORDS, self.server.sessions.wait()).await;
        self.limits.report(self.server.routes.limit_hits().counts());
        self.server.routes.patterns().parse_waiting();
        self.insight().merge(SystemTime::now());
        self.insight().report_slow();
        self.insight().end_hours();
        self.server.routes.hub().close().await;
        self.server.routes.pools().close_all(Instant::now());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
        self.server.routes.patterns().stop();
        self.insight().stop();
        for thread in self.threads.drain(..) {
            // A worker that panicked has said so already.
            let _ = thread.join();
        }
    }
}
