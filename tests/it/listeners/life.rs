//! Limits, the life of shared backends, and process ids.

use std::sync::Arc;
use std::time::Duration;

use pgweir::backend::{Endpoint, Login, Target};
use pgweir::config::{Host, Secret};
use pgweir::notify::{Full, Limits, ListenKey, NotHeard, Plan, TooManyListeners, When};
use pgweir::pool::{Berth, Budget};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;

use super::{LIMITS, Mail, Session, World, host, name, plan, process_id};
use crate::harness::{Cluster, eventually, own_postgres, postgres, within};

// === limits ===

#[tokio::test]
async fn a_session_that_leaves_too_much_waiting_is_told_so_and_the_others_lose_nothing() {
    let cluster = postgres().await;
    cluster.execute("create database listeners_full").await;
    let limits = Limits { notifications: 20_000, ..LIMITS };
    let world = World::of(cluster, limits, plan(cluster, "postgres", "listeners_full", Login::None));
    let (slow, quick) = (world.listening(&["a"]).await, world.listening(&["a"]).await);
    let notifier = world.notifier().await;
    let payload = "x".repeat(5000);
    for n in 0..10 {
        notifier.execute("select pg_notify('a', $1)", &[&format!("{n} {payload}")]).await.expect("NOTIFY");
        assert_eq!(quick.wait_for_mail(1).await.len(), 1);
    }
    slow.until("the mailbox is full", |subscriber| {
        (subscriber.take(&mut Vec::new(), 0) == Err(Full { limit: 20_000 })).then_some(())
    })
    .await;
    assert_eq!(world.hub.snapshots()[0].subscriptions, 1);
}

#[tokio::test]
async fn channels_and_listeners_are_limited() {
    let cluster = postgres().await;
    let limits = Limits { channels: 2, listeners: 1, ..LIMITS };
    let world = World::of(cluster, limits, plan(cluster, "postgres", "postgres", Login::None));
    let mut session = world.listening(&["a", "b"]).await;
    assert!(matches!(session.listen("c").await, Err(NotHeard::TooMany { limit: 2 })));
    session.listen("b").await.expect("what is listened to already costs nothing");
    session.unlisten("a");
    session.listen("c").await.expect("LISTEN");
    assert_eq!(world.try_session(Some("LATIN1")).err(), Some(TooManyListeners { limit: 1 }));
    drop(session);
    eventually("the listener's place is free", async || world.try_session(Some("LATIN1")).is_ok()).await;
}

// === the shared backend's life ===

#[tokio::test]
async fn after_the_backend_was_lost_sessions_hear_again_and_are_told_of_the_gap() {
    let world = World::new().await;
    let (one, two, silent) = (world.listening(&["a"]).await, world.listening(&["a", "b"]).await, world.session());
    for round in 0..3 {
        world.kill_backends().await;
        assert_eq!((one.wait_for_mail(1).await, two.wait_for_mail(1).await), (vec![Mail::Missed], vec![Mail::Missed]));
        world.notifier().await.batch_execute(&format!("notify a, '{round}'; notify b, 'b'")).await.expect("NOTIFY");
        assert_eq!(one.heard().await, [round.to_string()]);
        assert_eq!(two.heard().await, [round.to_string(), "b".to_owned()]);
    }
    assert!(silent.subscriber.is_idle());
}

#[tokio::test]
async fn while_the_server_is_down_listen_waits_and_listeners_live_on() {
    let cluster: &'static Cluster = Box::leak(Box::new(own_postgres().start().await));
    let world = World::of(cluster, LIMITS, plan(cluster, "postgres", "postgres", Login::None));
    let session = world.listening(&["a"]).await;
    cluster.stop("fast").await;
    session.barrier().await;
    let mut late = world.session();
    let ticket = late.subscriber.listen(name("a"), When::Now);
    let hasty = Plan { timeout: Duration::from_secs(1), ..world.plan.clone() };
    let mut seat = world.clients.seat().expect("a seat");
    let client = seat.log_in(pgweir::clients::Identity::of("postgres", "postgres"), false, [0; 32]);
    let key = ListenKey { encoding: Some((*b"UTF8").into()), ..world.key(None) };
    let subscriber = world.hub.subscriber(&key, hasty, &client).expect("a listener");
    let mut hasty = Session { client, subscriber, _seat: seat };
    assert!(matches!(hasty.listen("a").await, Err(NotHeard::NoBackend(_))));
    assert!(ticket.outcome().is_none());
    cluster.start_again().await;
    late.settled(&ticket).await.expect("LISTEN");
    late.subscriber.commit();
    assert_eq!(session.wait_for_mail(1).await, [Mail::Missed]);
    world.notifier().await.batch_execute("notify a, 'x'").await.expect("NOTIFY");
    assert_eq!((session.heard().await, late.heard().await), (vec!["x".to_owned()], vec!["x".to_owned()]));
    world.hub.close().await;
}

#[tokio::test]
async fn who_loses_patience_while_a_further_attempt_is_under_way_hears_why_the_one_before_failed() {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut plan = plan(postgres().await, "postgres", "postgres", Login::None);
    let mut endpoint = Endpoint::clone(&plan.target.endpoint());
    endpoint.hosts =
        vec![Host::Tcp { name: "127.0.0.1".to_owned(), port: server.local_addr().expect("a port").port() }];
    endpoint.connect_timeout = 2 * plan.timeout;
    plan.target = Arc::new(Target::new(endpoint, Login::None));
    let patience = plan.timeout;
    let world = World::of(postgres().await, LIMITS, plan);
    let mut session = world.session();
    let silent = async {
        let (mut starting, _) = server.accept().await.expect("a connection");
        let fields = b"SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0";
        starting.write_all(&[b"E\0\0\0\x3e", &fields[..]].concat()).await.expect("a refusal");
        let (second, _) = server.accept().await.expect("another connection");
        tokio::time::pause();
        tokio::time::advance(patience).await;
        std::future::pending::<()>().await;
        drop((starting, second));
    };
    let outcome = tokio::select! { outcome = session.listen("a") => outcome, () = silent => unreachable!() };
    match outcome {
        Err(NotHeard::NoBackend(refusal)) => assert!(refusal.to_string().contains("starting up"), "{refusal}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refused_login_fails_listen_at_once_with_the_servers_words() {
    let cluster = postgres().await;
    let wrong = Login::Password(Secret::new("wrong".to_owned()));
    let world = World::of(cluster, LIMITS, plan(cluster, "by_scram", "postgres", wrong));
    let mut session = world.session();
    match session.listen("a").await {
        Err(NotHeard::NoBackend(refusal)) => assert!(refusal.to_string().contains("28P01"), "{refusal}"),
        other => panic!("{other:?}"),
    }
    world.plan.target.set_login(Login::Password(Secret::new("secret of by_scram".to_owned())));
    session.listen("a").await.expect("the right password is used from now on");
}

#[tokio::test]
async fn a_backend_that_nobody_needs_is_closed_after_its_time_and_opened_again() {
    let mut world = World::new().await;
    world.plan.idle_timeout = Some(Duration::from_millis(50));
    let mut session = world.listening(&["a"]).await;
    assert_eq!(world.backends().await, 1);
    session.unlisten("a");
    eventually("the backend is closed", async || world.backends().await == 0).await;
    session.listen("a").await.expect("LISTEN");
    world.notifier().await.batch_execute("notify a, 'x'").await.expect("NOTIFY");
    assert_eq!(session.heard().await, ["x"]);
    drop(session);
    eventually("nothing is left", async || world.backends().await == 0 && world.hub.snapshots().is_empty()).await;
}

#[tokio::test]
async fn the_backend_counts_among_the_servers_connections_and_gives_way_when_nobody_listens() {
    let mut world = World::new().await;
    world.plan.budget = Budget::new(Some(1));
    world.plan.timeout = Duration::from_millis(100);
    let taken = Berth::new(&world.plan.budget);
    taken.acquire().await;
    let mut session = world.session();
    assert!(matches!(session.listen("a").await, Err(NotHeard::NoSeat)));
    drop(taken);
    world.plan.timeout = Duration::from_secs(25);
    let mut session = world.listening(&["a"]).await;
    assert_eq!(world.plan.budget.held(), 1);
    session.unlisten("a");
    let next = Berth::new(&world.plan.budget);
    within("the shared backend gives way", next.acquire()).await;
    eventually("it is closed", async || world.backends().await == 0).await;
}

#[tokio::test]
async fn a_reload_replaces_a_backend_only_where_something_has_changed() {
    let world = World::new().await;
    let session = world.listening(&["a"]).await;
    world.hub.reconfigure(LIMITS, |_| Some(world.plan.clone()));
    world.notifier().await.batch_execute("notify a, 'x'").await.expect("NOTIFY");
    assert_eq!(session.heard().await, ["x"], "nothing was missed");
    world.plan.target.set_login(Login::Password(Secret::new("new".to_owned())));
    world.hub.reconfigure(LIMITS, |_| Some(world.plan.clone()));
    assert_eq!(session.wait_for_mail(1).await, [Mail::Missed]);
    eventually("the old backend is gone", async || world.backends().await == 1).await;
}

#[tokio::test]
async fn the_end_of_the_hub_closes_its_backends_and_fails_who_waits() {
    let world = World::new().await;
    let mut session = world.listening(&["a"]).await;
    world.hub.close().await;
    eventually("the backend is closed", async || world.backends().await == 0).await;
    assert!(matches!(session.listen("b").await, Err(NotHeard::Closed)));
}

// === process ids ===

#[tokio::test]
async fn a_notification_shows_the_process_id_of_the_client_that_held_the_backend() {
    let world = World::new().await;
    let session = world.listening(&["a"]).await;
    let (ours, strange) = (world.notifier().await, world.notifier().await);
    let holder = world.holders.enter(&host(world.cluster), process_id(&ours).await);
    let pid_of = async || {
        session.barrier().await;
        let Some(Mail::Note { pid, .. }) = session.mail().pop() else { panic!("nothing came") };
        pid
    };
    for client in [5_000_001, 5_000_002, 5_000_003] {
        holder.lend(client, false);
        ours.batch_execute("notify a").await.expect("NOTIFY");
        holder.over();
        assert_eq!(pid_of().await, client);
    }
    strange.batch_execute("notify a").await.expect("NOTIFY");
    assert_eq!(pid_of().await, process_id(&strange).await);
    drop(holder);
    ours.batch_execute("notify a").await.expect("NOTIFY");
    assert_eq!(pid_of().await, 5_000_003, "a backend that was just closed is still known");
}
