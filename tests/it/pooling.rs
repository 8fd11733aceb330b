//! How many backends there are, who gets them, when they go.

use std::collections::HashSet;
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use tokio_postgres::error::SqlState;

use crate::harness::{self, Proxy, code, eventually, fed, frame, pgweir, postgres, within};

/// Backends that this proxy's clients of application `name` occupy or left behind, by a direct look.
async fn backends_of(user: &str) -> i64 {
    postgres().await.count(&format!("select count(*) from pg_stat_activity where usename = '{user}'")).await
}

/// A role of one test's own, so that `pg_stat_activity` tells its backends from all others.
async fn role(name: &str) -> String {
    postgres().await.execute(&format!("create role {name} login superuser")).await;
    name.to_owned()
}

async fn connect(proxy: &Proxy, user: &str) -> tokio_postgres::Client {
    proxy.connect(&proxy.url(user, "postgres")).await.expect("login through pgweir")
}

#[tokio::test]
async fn many_clients_share_few_backends() {
    let user = role("p_share").await;
    let proxy = pgweir().pool_size(3).start().await;
    let work = (0..40).map(async |_| {
        let mut client = connect(&proxy, &user).await;
        let mut seen = HashSet::new();
        for _ in 0..10 {
            let transaction = client.transaction().await.unwrap();
            let first: i32 = transaction.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
            let second: i32 = transaction.query_one("select pg_backend_pid()", &[]).await.unwrap().get(0);
            assert_eq!(first, second, "a transaction stays on its backend");
            transaction.commit().await.unwrap();
            seen.insert(first);
        }
        seen
    });
    let seen: HashSet<i32> = within("all clients are served", join_all(work)).await.into_iter().flatten().collect();
    assert!((1..=3).contains(&seen.len()), "{seen:?}");
    assert!(backends_of(&user).await <= 3);
}

#[tokio::test]
async fn overflow_opens_under_load_and_closes_on_return() {
    let user = role("p_overflow").await;
    let proxy = pgweir().pool_size(1).set("pool.max_overflow", "2").start().await;
    let clients = join_all((0..3).map(|_| connect(&proxy, &user))).await;
    for client in &clients {
        client.batch_execute("begin; select 1").await.unwrap();
    }
    assert_eq!(backends_of(&user).await, 3);
    for client in &clients {
        client.batch_execute("commit").await.unwrap();
    }
    eventually("overflow is closed", async || backends_of(&user).await == 1).await;
}

#[tokio::test]
async fn a_lease_that_takes_too_long_is_refused_by_name() {
    let user = role("p_timeout").await;
    let proxy = pgweir().pool_size(1).set("pool.timeout", "'2s'").start().await;
    let holder = connect(&proxy, &user).await;
    let waiter = connect(&proxy, &user).await;
    holder.batch_execute("begin").await.unwrap();
    let error = waiter.batch_execute("select 1").await.unwrap_err();
    let error = error.as_db_error().expect("an error of the protocol");
    assert_eq!(*error.code(), SqlState::TOO_MANY_CONNECTIONS);
    let text = format!("{} {:?} {:?}", error.message(), error.detail(), error.hint());
    assert!(text.contains("postgres") && text.contains(&user), "the pool is named: {text}");
    assert!(error.hint().is_some(), "{text}");
    holder.batch_execute("commit").await.unwrap();
    waiter.batch_execute("select 1").await.expect("the session lives on");
}

#[tokio::test]
async fn a_refused_lease_skips_the_batch_and_answers_its_sync_once() {
    let user = role("p_batch").await;
    let proxy = pgweir().pool_size(1).set("pool.timeout", "'2s'").start().await;
    let holder = connect(&proxy, &user).await;
    let mut waiter = harness::WireClient::login(proxy.address(), &user, "postgres").await;
    holder.batch_execute("begin").await.unwrap();
    let batch = [frame::parse("", "select 1", &[]), frame::bind("", "", &[]), frame::execute("", 0), frame::sync()];
    waiter.send(&batch.concat()).await;
    let frames = waiter.until(b'Z').await;
    let summaries: Vec<String> = frames.iter().map(harness::Frame::summary).collect();
    assert_eq!(summaries, ["ErrorResponse(53300)", "ReadyForQuery(I)"]);
    holder.batch_execute("commit").await.unwrap();
    assert_eq!(waiter.value("select 2").await, "2");
}

#[tokio::test]
async fn waiters_are_served_in_the_order_of_their_coming() {
    let user = role("p_order").await;
    let one = pgweir().pool_size(1).set("process.workers", "1");
    let proxy = one.set("admin.users", "['postgres']").start().await;
    let mut console = harness::WireClient::login(proxy.address(), "postgres", "pgweir").await;
    let holder = connect(&proxy, &user).await;
    holder.batch_execute("create table p_order (id serial, who int)").await.unwrap();
    // They log in while a backend is free: a startup packet that nobody sent before is checked on one.
    let mut waiters = Vec::new();
    for _ in 0..5 {
        waiters.push(harness::WireClient::login(proxy.address(), &user, "postgres").await);
    }
    holder.batch_execute("begin").await.unwrap();
    for (number, waiter) in waiters.iter_mut().enumerate() {
        waiter.send(&frame::query(&format!("insert into p_order (who) values ({number})"))).await;
        let waiting = (number + 1).to_string();
        let waits = "show pools (waiting) where \"user\" = 'p_order'";
        eventually("it waits", async || console.value(waits).await == waiting).await;
    }
    holder.batch_execute("commit").await.unwrap();
    for waiter in &mut waiters {
        waiter.until(b'Z').await;
    }
    let rows = holder.query("select who from p_order order by id", &[]).await.unwrap();
    let order: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(order, [0, 1, 2, 3, 4]);
}

#[tokio::test]
async fn min_idle_backends_are_opened_ahead_and_kept() {
    let user = role("p_ahead").await;
    let proxy = pgweir().pool_size(4).set("pool.min_idle", "2").set("pool.idle_timeout", "'1s'").start().await;
    let client = connect(&proxy, &user).await;
    client.batch_execute("select 1").await.unwrap();
    eventually("two idle backends", async || backends_of(&user).await == 2).await;
}

#[tokio::test]
async fn idle_backends_are_closed_after_idle_timeout() {
    let user = role("p_idle").await;
    let proxy = pgweir().pool_size(3).set("pool.idle_timeout", "'1s'").start().await;
    let client = connect(&proxy, &user).await;
    client.batch_execute("select 1").await.unwrap();
    eventually("idle backends are closed", async || backends_of(&user).await == 0).await;
    client.batch_execute("select 1").await.expect("the client notices nothing");
}

#[tokio::test]
async fn old_backends_are_replaced() {
    let user = role("p_recycle").await;
    let proxy = pgweir().pool_size(1).set("pool.recycle", "'1s'").start().await;
    let client = connect(&proxy, &user).await;
    let pid = "select pid from pg_stat_activity where pid = pg_backend_pid()";
    let first: i32 = client.query_one(pid, &[]).await.unwrap().get(0);
    eventually("another backend", async || {
        let now: i32 = client.query_one(pid, &[]).await.unwrap().get(0);
        now != first
    })
    .await;
}

#[tokio::test]
async fn a_backend_terminated_while_idle_is_noticed_by_no_client() {
    let user = role("p_dead").await;
    for ping in ["true", "false"] {
        let proxy = pgweir().pool_size(2).set("pool.pre_ping", ping).set("process.workers", "1").start().await;
        let client = connect(&proxy, &user).await;
        let mut other = proxy.wire().await;
        for _ in 0..5 {
            client.batch_execute("select 1").await.unwrap();
            let kill =
                format!("select count(pg_terminate_backend(pid)) from pg_stat_activity where usename = '{user}'");
            postgres().await.count(&kill).await;
            // By now the backend has said goodbye and closed: the proxy's kernel holds both.
            eventually("the backend is gone", async || backends_of(&user).await == 0).await;
            // Who answers this has come back from the last reply and looked at all sockets.
            other.send(&frame::sync()).await;
            other.until(b'Z').await;
        }
        client.batch_execute("select 1").await.unwrap();
    }
}

#[tokio::test]
async fn discard_on_return_leaves_nothing() {
    let user = role("p_discard").await;
    let proxy = pgweir().pool_size(1).set("pool.reset_on_return", "'discard'").start().await;
    let one = connect(&proxy, &user).await;
    let other = connect(&proxy, &user).await;
    one.batch_execute("select set_config('p.left', 'behind', false)").await.unwrap();
    let row = other.query_one("select coalesce(current_setting('p.left', true), '')", &[]).await.unwrap();
    assert_eq!(row.get::<_, String>(0), "");
}

#[tokio::test]
async fn databases_and_users_may_have_pools_of_their_own() {
    let user = role("p_override").await;
    let proxy =
        pgweir().pool_size(1).config("[databases.'*']\n[databases.shop]\ndbname = 'second'\nsize = 3").start().await;
    let clients = join_all((0..3).map(async |_| proxy.connect(&proxy.url(&user, "shop")).await.unwrap())).await;
    for client in &clients {
        let row = client.query_one("select current_database()::text", &[]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), "second");
        client.batch_execute("begin").await.unwrap();
    }
    assert_eq!(backends_of(&user).await, 3);
}

#[tokio::test]
async fn the_cap_over_all_pools_holds_and_every_pool_gets_its_turn() {
    let users = [role("p_cap_a").await, role("p_cap_b").await, role("p_cap_c").await];
    let proxy = pgweir().pool_size(5).set("server.max_connections", "3").start().await;
    let work = (0..30).map(async |number: usize| {
        let client = connect(&proxy, &users[number % 3]).await;
        for _ in 0..10 {
            client.batch_execute("begin; select pg_sleep(0.001); commit").await.unwrap();
        }
    });
    let watched = async {
        let all = users.each_ref().map(|user| format!("'{user}'")).join(", ");
        let sql = format!("select count(*) from pg_stat_activity where usename in ({all})");
        let admin = postgres().await.admin().await;
        loop {
            let count: i64 = admin.query_one(&sql, &[]).await.unwrap().get(0);
            // One that is closing may still be listed while its successor starts.
            assert!(count <= 4, "{count} backends");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        _ = within("all are served", join_all(work)) => {}
        () = watched => {}
    }
}

#[tokio::test]
async fn backends_that_are_only_better_kept_go_to_whoever_needs_one() {
    for keeping in ["select lastval()", "select pg_backend_pid()"] {
        let proxy = pgweir().pool_size(2).start().await;
        let mut resting = proxy.wire().await;
        resting.query("create sequence if not exists po_drawn").await;
        for text in ["select nextval('po_drawn')", keeping, "select nextval('po_drawn')"] {
            resting.query(text).await;
        }
        let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
        let frames = one.query("create temp table po_own (n int)").await;
        assert_eq!(code(&frames), None, "after {keeping}: {frames:?}");
        one.query("drop table po_own").await;
        // And where all that is left is kept.
        resting.query(keeping).await;
        one.query("begin").await;
        assert_eq!(code(&two.query("select 1").await), None, "after {keeping}");
    }
}

#[tokio::test]
async fn a_login_like_an_earlier_one_needs_no_backend_though_all_of_them_are_taken() {
    let user = role("p_again").await;
    let proxy = pgweir().pool_size(2).set("pool.timeout", "'2s'").start().await;
    let named = frame::startup(
        3,
        0,
        &[("user", &user), ("database", "postgres"), ("application_name", "p_again"), ("options", "-c work_mem=7MB")],
    );
    let mut holders = Vec::new();
    for taking in ["begin", "create temp table p_again (n int)"] {
        let mut holder = harness::WireClient::open(proxy.address()).await;
        holder.send(&named).await;
        holder.until(b'Z').await;
        assert_eq!(code(&holder.query(taking).await), None);
        holders.push(holder);
    }
    let mut again = harness::WireClient::open(proxy.address()).await;
    again.send(&named).await;
    let frames = again.until(b'Z').await;
    assert_eq!(frames.last().map(harness::Frame::summary).as_deref(), Some("ReadyForQuery(I)"), "{frames:?}");
    let application = frames.iter().map(harness::Frame::summary).find(|told| told.contains("application_name"));
    assert_eq!(application.as_deref(), Some("ParameterStatus(application_name=p_again)"));
    assert_eq!(code(&again.query("select 1").await).as_deref(), Some("53300"), "there is none left for a statement");
    holders[0].query("commit").await;
    assert_eq!(again.value("show work_mem").await, "7MB");
}

#[tokio::test]
async fn psql_connects_anew_while_its_own_transaction_has_the_only_backend() {
    let user = role("p_psql").await;
    let proxy = pgweir().pool_size(1).set("pool.timeout", "'5s'").start().await;
    let script = "begin;\ncreate table p_psql (n int);\n\\c\nselect 'there is ' || coalesce(to_regclass('p_psql')::text, 'nothing');\n";
    let url = proxy.url(&user, "postgres");
    let run = tokio::task::spawn_blocking(move || {
        fed(Command::new("psql").args(["-XAt", "-v", "ON_ERROR_STOP=1", "-d", &url]), script)
    });
    let output = within("psql ends", run).await.expect("it was waited for");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("You are now connected") && said.ends_with("there is nothing\n"), "{said}");
}
