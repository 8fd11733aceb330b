//! Commands that need a database alone, or change what connections are like: pgweir's own make way.
//!
//! These tests use the library's parts in front of a real PostgreSQL, one step at a time.

use std::sync::Arc;
use std::time::Duration;

use pgweir::auth::{BackendCredential, BackendLogin};
use pgweir::backend::{Command, Dialer, Occupant};
use pgweir::config::{Config, Host, check_text};
use pgweir::control::Control;
use pgweir::insight::Insight;
use pgweir::notify::{self, Hub};
use pgweir::pool::{Lease, Pool, Return, Wish};
use pgweir::proxy::Route;
use pgweir::server::routes::Routes;
use pgweir::settings::{Known, Profiles};
use pgweir::sql::Patterns;
use tokio::runtime::Handle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::harness::{eventually, postgres, within};

async fn config(more: &str) -> Config {
    let text = format!(
        "[server]\nhost = '127.0.0.1'\nport = {}\n[server.tls]\nmode = 'disable'\n[listen]\nauth = 'trust'\n{more}\n[[users]]\nname = '*'\n",
        postgres().await.port()
    );
    check_text("test", &text, &[]).unwrap_or_else(|mistakes| panic!("{mistakes}")).config
}

fn routes(config: &Config) -> Routes {
    let limits = notify::Limits::of(&config.limits);
    let hub = Hub::new(Handle::current(), CancellationToken::new(), Arc::default(), limits);
    let insight = Arc::new(Insight::new(&config.insight, Arc::new(Patterns::new(config.limits.patterns))));
    Routes::new(config, None, TaskTracker::new(), hub, insight)
}

fn open(routes: &Routes, config: &Config, database: &str, user: &str) -> Arc<Route> {
    let credential = BackendCredential { user: None, login: BackendLogin::None };
    routes.open(config, database, user, &credential).expect("a route")
}

async fn lease(pool: &Pool<Dialer>) -> Lease<Dialer> {
    let wish = Wish::default();
    match pool.try_lease(&wish, Instant::now()) {
        Some(lease) => lease,
        None => {
            within("a lease", pool.wait(&wish, Instant::now()).expect("a place in the queue")).await.expect("a lease")
        }
    }
}

async fn warm(pool: &Pool<Dialer>, backends: usize) {
    let mut leases = Vec::new();
    for _ in 0..backends {
        leases.push(lease(pool).await);
    }
    for lease in leases {
        lease.release(Return::Clean, Instant::now());
    }
}

async fn connected_to(database: &str) -> i64 {
    postgres()
        .await
        .count(&format!(
            "select count(*) from pg_stat_activity where datname = '{database}' and backend_type = 'client backend'"
        ))
        .await
}

async fn connected_as(user: &str) -> i64 {
    postgres().await.count(&format!("select count(*) from pg_stat_activity where usename = '{user}'")).await
}

#[tokio::test]
async fn a_database_is_left_by_all_its_pools_before_a_command_that_needs_it_alone() {
    let cluster = postgres().await;
    cluster.execute("create database adm_left").await;
    let config = config("[databases.\"*\"]\n[databases.alias]\ndbname = 'adm_left'").await;
    let routes = routes(&config);
    let here = open(&routes, &config, "postgres", "postgres");
    let pools = [open(&routes, &config, "adm_left", "postgres"), open(&routes, &config, "alias", "nobody_special")];
    warm(&here.pool, 1).await;
    warm(&pools[0].pool, 3).await;
    warm(&pools[1].pool, 1).await;
    assert_eq!(connected_to("adm_left").await, 4);
    let drop = Command::DropDatabase { database: "adm_left".into() };
    here.administration.before(&drop, &here.target.endpoint(), None).await;
    assert_eq!(connected_to("adm_left").await, 0, "PostgreSQL has really dropped them");
    assert_eq!(here.pool.snapshot().idle, 1, "other databases are not concerned");
    cluster.execute("drop database adm_left").await;
    here.administration.after(&drop, &here.target.endpoint(), true, Instant::now());
}

#[tokio::test]
async fn a_database_that_was_left_is_not_entered_again_until_the_command_is_over_unless_somebody_asks() {
    postgres().await.execute("create database adm_rest").await;
    let config = config("[pool]\nmin_idle = 2").await;
    let routes = routes(&config);
    let route = open(&routes, &config, "adm_rest", "postgres");
    let held = lease(&route.pool).await;
    warm(&route.pool, 2).await;
    let copy = Command::CreateDatabase { template: "adm_rest".into() };
    route.administration.before(&copy, &route.target.endpoint(), None).await;
    assert_eq!(connected_to("adm_rest").await, 1, "who has a lease keeps it");
    held.release(Return::Clean, Instant::now());
    routes.maintain(Instant::now());
    let snapshot = route.pool.snapshot();
    assert_eq!((snapshot.idle, snapshot.leased, snapshot.connecting), (0, 0, 0));
    eventually("the last one is gone", async || connected_to("adm_rest").await == 0).await;
    lease(&route.pool).await.release(Return::Clean, Instant::now());
    route.administration.after(&copy, &route.target.endpoint(), true, Instant::now());
    routes.maintain(Instant::now());
    eventually("what is to be kept ahead is opened", async || route.pool.snapshot().idle == 2).await;
}

#[tokio::test]
async fn backends_of_a_changed_role_are_replaced_and_its_startup_parameters_are_asked_again() {
    postgres().await.execute("create role adm_changed login superuser; create role adm_other login superuser").await;
    let config = config("").await;
    let routes = routes(&config);
    let (route, other) =
        (open(&routes, &config, "postgres", "adm_changed"), open(&routes, &config, "postgres", "adm_other"));
    let held = lease(&route.pool).await;
    warm(&route.pool, 2).await;
    warm(&other.pool, 1).await;
    let known = Known { profile: Profiles::new(1).fresh(), defaults: Arc::default(), told: Arc::from([]) };
    for route in [&route, &other] {
        route.startups.learn(Vec::new(), known.clone());
    }
    let alter = Command::AlterRole { role: Some("adm_changed".into()), database: None };
    other.administration.after(&alter, &other.target.endpoint(), false, Instant::now());
    assert_eq!(route.pool.snapshot().idle, 2, "what is rolled back changes nothing");
    other.administration.after(&alter, &other.target.endpoint(), true, Instant::now());
    assert_eq!((route.pool.snapshot().idle, route.pool.snapshot().leased), (0, 1));
    held.release(Return::Clean, Instant::now());
    eventually("all old ones are gone", async || connected_as("adm_changed").await == 0).await;
    assert_eq!(connected_as("adm_other").await, 1);
    assert!(route.startups.get(&Vec::new()).is_none() && other.startups.get(&Vec::new()).is_some());
}

/// Somebody who notes what it was asked to leave.
#[derive(Debug, Default)]
struct Guest(parking_lot::Mutex<Vec<String>>);

impl Occupant for Guest {
    fn leave<'a>(
        &'a self,
        _: &'a [Host],
        database: &'a str,
        _: Instant,
    ) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send + 'a>> {
        self.0.lock().push(database.to_owned());
        Box::pin(std::future::ready(()))
    }
}

#[tokio::test]
async fn others_who_keep_connections_are_asked_to_leave_too() {
    let config = config("").await;
    let routes = routes(&config);
    let route = open(&routes, &config, "postgres", "postgres");
    let guest = Arc::new(Guest::default());
    routes.administration().add(Arc::clone(&guest) as Arc<dyn Occupant>);
    let endpoint = route.target.endpoint();
    route.administration.before(&Command::MoveDatabase { database: "adm_guest".into() }, &endpoint, None).await;
    route.administration.before(&Command::SetDatabase { database: "adm_guest".into() }, &endpoint, None).await;
    assert_eq!(*guest.0.lock(), ["adm_guest"]);
}

#[tokio::test]
async fn the_control_plane_leaves_its_database_and_comes_back() {
    postgres().await.execute("create database adm_control").await;
    let config = config("[control]\nuser = 'postgres'\npassword = ''\ndbname = 'adm_control'").await;
    let control = Control::new(&config, None);
    control.ask().await.expect("an answer");
    assert_eq!(connected_to("adm_control").await, 1);
    let until = Instant::now() + Duration::from_millis(300);
    control.leave(&config.server.hosts, "other", until).await;
    assert_eq!(connected_to("adm_control").await, 1);
    control.leave(&config.server.hosts, "adm_control", until).await;
    assert_eq!(connected_to("adm_control").await, 0, "PostgreSQL has really dropped it");
    within("a question after that", control.ask()).await.expect("an answer");
    assert!(Instant::now() >= until, "it stays away as long as it was told to");
}
