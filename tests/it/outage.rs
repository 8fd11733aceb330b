//! While PostgreSQL lets nobody in: what the log says, and what clients learn that log in meanwhile.

use crate::harness::{Cluster, Proxy, WireClient, code, frame, own_postgres, pgweir, postgres};

/// A client that has asked for a session and not been answered.
async fn logging_in(proxy: &Proxy, user: &str) -> WireClient {
    let mut client = WireClient::open(proxy.address()).await;
    client.send(&frame::startup(3, 0, &[("user", user), ("database", "postgres")])).await;
    client
}

#[tokio::test]
async fn an_outage_stands_in_the_log_from_its_begin_to_its_end() {
    let cluster = own_postgres().start().await;
    cluster.stop("fast").await;
    let mut proxy = pgweir()
        .in_front_of(&cluster)
        .set("server.backoff.first", "'20ms'")
        .set("server.backoff.longest", "'50ms'")
        .start()
        .await;
    let mut client = logging_in(&proxy, "postgres").await;
    let begins = proxy.log_line("cannot connect to PostgreSQL").await;
    assert!(begins.contains("onnection refused") && begins.contains("WARN"), "{begins}");
    cluster.start_again().await;
    client.until(b'Z').await;
    let over = proxy.log_line("connected to PostgreSQL again").await;
    assert!(over.contains("failures"), "{over}");
    proxy.signal("TERM");
    proxy.wait_exit().await;
    assert_eq!(proxy.log().matches("cannot connect to PostgreSQL\"").count(), 1, "once a minute: {}", proxy.log());
}

#[tokio::test]
async fn a_login_waits_for_the_server_as_long_as_a_statement_does_and_reads_why_in_vain() {
    let cluster = own_postgres().start().await;
    cluster.stop("fast").await;
    let proxy =
        pgweir().in_front_of(&cluster).set("listen.login_timeout", "'100ms'").set("pool.timeout", "'2s'").start().await;
    let mut client = logging_in(&proxy, "postgres").await;
    let frames = client.until_end().await;
    let told = format!("{frames:?}");
    assert!(told.contains("53300") && told.contains("pgweir has no connection to PostgreSQL"), "{told}");
}

/// A host that takes connections and says nothing, and its port.
async fn silent_host() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    tokio::spawn(async move {
        let mut taken = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            taken.push(stream);
        }
    });
    port
}

#[tokio::test]
async fn a_host_that_says_nothing_is_given_up_for_the_next() {
    let (silent, there) = (silent_host().await, postgres().await.address());
    let hosts = format!("['127.0.0.1:{silent}', '{there}']");
    let proxy = pgweir().set("server.host", &hosts).set("server.connect_timeout", "'1s'").start().await;
    assert_eq!(proxy.wire().await.value("select 1").await, "1");
}

#[tokio::test]
async fn a_host_that_is_passed_over_stands_in_the_log_with_the_reason() {
    let there = postgres().await.address();
    let nobody = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("its address");
    let proxy = pgweir().set("server.host", &format!("['{nobody}', '{there}']")).start().await;
    assert_eq!(proxy.wire().await.value("select 1").await, "1");
    let passed = proxy.log_line("is passed over for a later one").await;
    assert!(passed.contains(&format!("{nobody}")) && passed.contains(&format!("{there}")), "{passed}");
    assert!(passed.contains("onnection refused"), "{passed}");
}

#[tokio::test]
async fn who_waits_in_vain_for_a_server_that_says_nothing_reads_that() {
    let silent = silent_host().await;
    let proxy = pgweir().in_front_of_port(silent).set("pool.timeout", "'1s'").start().await;
    let mut client = logging_in(&proxy, "postgres").await;
    let told = format!("{:?}", client.until_end().await);
    assert!(told.contains("that PostgreSQL has not let in yet: 1") && told.contains("connect_timeout"), "{told}");
}

#[tokio::test]
async fn who_replicates_from_a_host_that_says_nothing_is_told() {
    let silent = silent_host().await;
    let proxy = pgweir().in_front_of_port(silent).set("server.connect_timeout", "'1s'").start().await;
    let mut client = WireClient::open(proxy.address()).await;
    let parameters = [("user", "by_trust_replication"), ("database", "postgres"), ("replication", "true")];
    client.send(&frame::startup(3, 0, &parameters)).await;
    assert_eq!(code(&client.until_end().await).as_deref(), Some("08006"));
}

#[tokio::test]
async fn a_client_that_goes_away_while_its_login_waits_holds_up_nothing() {
    let cluster = own_postgres().start().await;
    cluster.stop("fast").await;
    let mut proxy = pgweir().in_front_of(&cluster).set("pool.timeout", "'1h'").start().await;
    let client = logging_in(&proxy, "postgres").await;
    proxy.log_line("cannot connect to PostgreSQL").await;
    drop(client);
    proxy.signal("TERM");
    proxy.wait_exit().await;
}

#[tokio::test]
async fn who_cannot_be_logged_in_at_the_server_reads_that_it_was_not_their_own_password() {
    let cluster = own_postgres().start().await;
    cluster.execute("create role f_locked nologin").await;
    let proxy = pgweir().in_front_of(&cluster).users("[[users]]\nname = 'f_locked'\nauth = 'trust'\n").start().await;
    let mut client = logging_in(&proxy, "f_locked").await;
    let frames = client.until_end().await;
    let told = format!("{frames:?}");
    assert!(told.contains("28000") && told.contains("not permitted to log in"), "{told}");
    assert!(told.contains("could not log in there for this client"), "{told}");
}

/// A cluster that has room for five of those who are no superusers.
async fn small_cluster() -> Cluster {
    let cluster = own_postgres().start().await;
    cluster.execute("alter system set max_connections = 8").await;
    for role in ["o_one login", "o_other login", "o_single login connection limit 1"] {
        cluster.execute(&format!("create role {role}")).await;
    }
    cluster.stop("fast").await;
    cluster.start_again().await;
    cluster
}

/// Leaves so many backends of this user idle.
async fn leave_idle(proxy: &Proxy, user: &str, count: usize) {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = WireClient::login(proxy.address(), user, "postgres").await;
        client.query("begin").await;
        clients.push(client);
    }
    for client in &mut clients {
        client.query("commit").await;
    }
}

#[tokio::test]
async fn where_postgresql_is_full_of_idle_backends_of_one_pool_they_make_way_for_others() {
    let cluster = small_cluster().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(10).set("pool.idle_timeout", "'1h'").start().await;
    leave_idle(&proxy, "o_one", 5).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut other = WireClient::login(proxy.address(), "o_other", "postgres").await;
        assert_eq!(code(&other.query("begin").await), None);
        others.push(other);
    }
    let mut first = WireClient::login(proxy.address(), "o_one", "postgres").await;
    assert_eq!(first.value("select current_user").await, "o_one");
}

#[tokio::test]
async fn where_postgresql_is_full_of_idle_backends_one_makes_way_for_listening() {
    let cluster = small_cluster().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(10).set("pool.idle_timeout", "'1h'").start().await;
    leave_idle(&proxy, "o_one", 5).await;
    let mut listening = WireClient::login(proxy.address(), "o_one", "postgres").await;
    assert_eq!(code(&listening.query("listen o_channel").await), None);
}

#[tokio::test]
async fn who_may_have_reserved_connections_waits_for_nobody_who_may_not() {
    let cluster = small_cluster().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(10).start().await;
    let mut holding = Vec::new();
    for _ in 0..5 {
        let mut client = WireClient::login(proxy.address(), "o_one", "postgres").await;
        assert_eq!(code(&client.query("begin").await), None);
        holding.push(client);
    }
    let mut waiting = logging_in(&proxy, "o_other").await;
    proxy.log_line("reserved for").await;
    let mut superuser = proxy.wire().await;
    assert_eq!(superuser.value("select current_user").await, "postgres");
    holding[0].query("commit").await;
    waiting.until(b'Z').await;
}

#[tokio::test]
async fn where_a_role_has_no_more_connections_nobody_makes_way() {
    let cluster = small_cluster().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(10).set("pool.timeout", "'1s'").start().await;
    leave_idle(&proxy, "o_one", 3).await;
    let mut single = WireClient::login(proxy.address(), "o_single", "postgres").await;
    let mut second = WireClient::login(proxy.address(), "o_single", "postgres").await;
    assert_eq!(code(&single.query("begin").await), None);
    let refused = format!("{:?}", second.query("select 1").await);
    assert!(refused.contains("53300") && refused.contains("too many connections for role"), "{refused}");
    let idle = "select count(*) from pg_stat_activity where usename = 'o_one'";
    assert_eq!(cluster.count(idle).await, 3);
    single.query("commit").await;
    assert_eq!(second.value("select 1").await, "1");
}
