//! pgweir at work, for whoever wants to see it before pointing an application at it: a throw-away PostgreSQL with a
//! small shop, pgweir in front of it in this very process, and many clients on few backends.
//!
//! It is no benchmark (everything shares one machine, and visitors pause between visits), and nothing of it stays
//! behind. [`run`] tells the order of events; `cluster` is PostgreSQL, `visit` what a client does, `workload` all of
//! them, `meter` the figures, `progress` what is shown.

mod cluster;
mod meter;
mod progress;
mod visit;
mod workload;

use std::ffi::OsString;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::{Client, NoTls};

use crate::app::{self, Running};
use crate::config::{self, Config, Host, Sources};
use crate::report::{self, By, Format, Wish};
use cluster::Cluster;
use meter::Meter;
use progress::Screen;
use workload::Workload;

/// Where pgweir listens unless told otherwise, if it is free.
const PORT: u16 = 6432;
/// How often pgweir is looked at.
const SAMPLE: Duration = Duration::from_millis(100);
/// Patterns in the report at the end.
const REPORTED: usize = 10;
const SCHEMA: &str = include_str!("schema.sql");

/// What the command line asks for.
#[derive(Debug, Clone)]
pub struct Plan {
    /// `None` is until Ctrl-C.
    pub lasting: Option<Duration>,
    /// At least 1.
    pub clients: usize,
    /// At least 1.
    pub backends: usize,
    /// Where pgweir listens on 127.0.0.1; `None` is 6432, or any that is free.
    pub port: Option<u16>,
    /// The variable `PATH`, in which PostgreSQL's programs are looked for first.
    pub path: Option<OsString>,
}

/// Shows pgweir at work until the time is over or a signal comes, and tidies up. Whether no client saw an error.
///
/// # Errors
/// No PostgreSQL, no port, or it was interrupted before it began.
pub async fn run(plan: Plan) -> anyhow::Result<bool> {
    let mut signals = Signals::new()?;
    let screen = Screen::new();
    start_log(&screen);
    let _ = app::raise_open_files();
    screen.step("starting a throw-away PostgreSQL");
    let (path, backends) = (plan.path.clone(), plan.backends);
    let mut starting = tokio::task::spawn_blocking(move || Cluster::start(path.as_deref(), backends));
    let started = tokio::select! {
        started = &mut starting => started,
        () = signals.any() => {
            screen.clear();
            // It can't be stopped half-way, but it won't stay.
            drop(starting.await);
            bail!("interrupted");
        }
    };
    let cluster = started.context("starting PostgreSQL")?.inspect_err(|_| screen.clear())?;
    let prepared = tokio::select! {
        prepared = prepare(&cluster, &plan, &screen) => prepared,
        () = signals.any() => Err(anyhow::anyhow!("interrupted")),
    };
    let (running, observer) = prepared.inspect_err(|_| screen.clear())?;
    let clean = perform(&plan, &cluster, &running, &observer, &screen, &mut signals).await;
    running.end().await;
    clean
}

/// Fills the shop and starts pgweir in front of it. The client is a superuser's.
async fn prepare(cluster: &Cluster, plan: &Plan, screen: &Screen) -> anyhow::Result<(Running, Client)> {
    screen.step("filling a small shop: 1,000 customers, 500 products, 5,000 orders, 15,000 order items");
    let admin = connect(cluster, "postgres").await?;
    admin.batch_execute("CREATE DATABASE shop").await.context("creating the database")?;
    let observer = connect(cluster, "shop").await?;
    observer.batch_execute(SCHEMA).await.context("creating the shop's tables")?;
    observer.batch_execute("VACUUM ANALYZE").await.context("analysing the shop's tables")?;
    screen.step("starting pgweir");
    let running = Box::pin(app::start(configuration(cluster, plan)?)).await.context("starting pgweir")?;
    Ok((running, observer))
}

/// A superuser's connection by the unix socket.
async fn connect(cluster: &Cluster, database: &str) -> anyhow::Result<Client> {
    let mut login = tokio_postgres::Config::new();
    login.host_path(cluster.socket_folder()).port(cluster.port()).user("postgres").dbname(database);
    let (client, connection) =
        login.application_name("pgweir demo").connect(NoTls).await.context("connecting to PostgreSQL")?;
    tokio::spawn(connection);
    Ok(client)
}

/// As an operator would write it, but for the socket.
fn configuration(cluster: &Cluster, plan: &Plan) -> anyhow::Result<Config> {
    let port = plan.port.unwrap_or_else(|| if is_free(PORT) { PORT } else { 0 });
    let text = format!(
        "[listen]\naddress = '127.0.0.1:{port}'\nauth = 'trust'\nmax_clients = {}\n\
         [server]\nhost = '127.0.0.1'\nport = {}\n\
         [pool]\nmode = 'transaction'\nsize = {}\nmax_overflow = 0\n\
         [admin]\nstats_users = ['shop']\n\
         [insight]\nplans = true\n\
         [control]\nuser = 'postgres'\npassword = ''\ndbname = 'postgres'\n\
         [databases.shop]\n\
         [[users]]\nname = 'shop'\n",
        plan.clients + 100,
        cluster.port(),
        plan.backends,
    );
    let loaded =
        config::check_text("the demo's configuration", &text, &[]).map_err(|mistakes| anyhow::anyhow!("{mistakes}"))?;
    let mut config = loaded.config;
    config.server.hosts = vec![Host::Unix { path: cluster.socket() }];
    Ok(config)
}

fn is_free(port: u16) -> bool {
    std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// The show and its summary. Whether no client saw an error.
async fn perform(
    plan: &Plan,
    cluster: &Cluster,
    running: &Running,
    observer: &Client,
    screen: &Screen,
    signals: &mut Signals,
) -> anyhow::Result<bool> {
    let address = *running.addresses().first().context("pgweir listens nowhere")?;
    screen.begin(&welcome(plan, cluster, address), plan.lasting);
    let mut meter = Meter::new(running.snapshot());
    let workload = Workload::start(plan.clients, address)?;
    let counted = watch(plan, running, observer, screen, signals, &mut meter).await;
    screen.clear();
    // The workload's threads are waited for while this one goes on serving pgweir.
    let tally = tokio::task::spawn_blocking(move || workload.finish()).await.context("the workload broke")?;
    screen.say(&progress::summary(&meter.whole(), &tally, plan.clients, plan.backends, counted));
    screen.say(&format!("\n{}", reported(running, address).await?));
    Ok(tally.errors == 0)
}

/// What `pgweir report` says of the show, asked as everybody asks: through the console.
async fn reported(running: &Running, address: SocketAddr) -> anyhow::Result<String> {
    running.insight().merge(SystemTime::now());
    let sources = Sources { url: Some(format!("postgres://shop@{address}")), ..Sources::default() };
    let wish = Wish { by: By::Total, top: REPORTED, since: None, database: None, user: None, application: None };
    report::run(&sources, &wish, Format::Table, report::terminal_width()).await.context("the report")
}

fn welcome(plan: &Plan, cluster: &Cluster, address: SocketAddr) -> String {
    let end = if plan.lasting.is_some() { "" } else { "\n  to end it        Ctrl-C" };
    format!(
        "\npgweir in front of PostgreSQL {}, transaction mode: {} clients share {} backends\n\n\
         \x20 join in          psql postgres://shop@{address}/shop\n\
         \x20 past pgweir      psql postgres://shop@127.0.0.1:{}/shop\n\
         \x20 the console      psql postgres://shop@{address}/pgweir{end}",
        cluster.version(),
        plan.clients,
        plan.backends,
        cluster.port(),
    )
}

/// Looks at pgweir until the end, and shows it. The most connections of pgweir that PostgreSQL itself reported.
async fn watch(
    plan: &Plan,
    running: &Running,
    observer: &Client,
    screen: &Screen,
    signals: &mut Signals,
    meter: &mut Meter,
) -> i64 {
    let begun = Instant::now();
    let end = plan.lasting.map(|lasting| begun + lasting);
    let mut samples = tokio::time::interval(SAMPLE);
    samples.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = begun + screen.period();
    let mut counted = 0;
    loop {
        tokio::select! {
            _ = samples.tick() => {}
            () = signals.any() => break,
        }
        let snapshot = running.snapshot();
        meter.sample(&snapshot);
        screen.advance(begun);
        let now = Instant::now();
        let over = end.is_some_and(|end| now >= end);
        if now >= turn || over {
            screen.show(&meter.turn(snapshot), plan.backends, begun);
            counted = counted.max(connections(observer).await);
            turn += screen.period();
        }
        if over {
            return counted;
        }
    }
    // What came after the last turn belongs to the whole too.
    meter.turn(running.snapshot());
    counted
}

/// How many connections pgweir has, as PostgreSQL tells it: those by the unix socket, where nobody else comes as
/// `shop`.
async fn connections(observer: &Client) -> i64 {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'shop' AND client_addr IS NULL";
    // Without an answer the last one stands.
    observer.query_one(sql, &[]).await.and_then(|row| row.try_get(0)).unwrap_or(0)
}

/// Warnings of pgweir, which there should be none of but of slow statements: of those the report tells.
fn start_log(screen: &Screen) {
    let screen = screen.clone();
    let lines = tracing_subscriber::fmt().with_env_filter("warn,pgweir::insight=error").with_target(false);
    // A second demo in one process, as a test may have it, logs where the first does.
    let _ = lines.with_ansi(false).with_writer(move || screen.clone()).try_init();
}

/// What ends the demo from outside.
#[derive(Debug)]
struct Signals {
    hang_up: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("listening for signals");
        Ok(Self {
            hang_up: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.hang_up.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
