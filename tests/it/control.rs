//! The control plane: what it tells the operator about PostgreSQL, and that nobody depends on it.

use crate::harness::tls::Authority;
use crate::harness::{Builder, eventually, own_postgres, pgweir};

const CONTROL: &str = "[control]\nuser = 'by_scram'\npassword = 'secret of by_scram'\n";
const LIMITS: &str = "PostgreSQL's limits";
const CANNOT_ASK: &str = "the control plane cannot ask PostgreSQL";

fn with_control() -> Builder {
    pgweir().set("control.user", "'by_scram'").set("control.password", "'secret of by_scram'")
}

#[tokio::test]
async fn what_postgresql_allows_is_logged_at_start() {
    let proxy = pgweir().config(CONTROL).start().await;
    let line = proxy.log_line(LIMITS).await;
    for fact in ["\"server_version\":\"", "\"max_connections\":300", "\"reserved\":3", "\"in_use_by_others\":"] {
        assert!(line.contains(fact), "{fact} in {line}");
    }
}

#[tokio::test]
async fn more_backends_than_postgresql_grants_are_warned_of_with_the_keys_to_change() {
    let mut proxy = with_control().pool_size(400).start().await;
    let line = proxy.log_line("PostgreSQL grants 297").await;
    assert!(line.contains("let pgweir's 1 pool open 400 backends"), "{line}");
    assert!(line.contains("set server.max_connections to 295 or less"), "{line}");
    proxy.reload(|builder| builder.set("server.max_connections", "296"));
    proxy.log_line("lower server.max_connections to 295 or less").await;
}

#[tokio::test]
async fn a_wrong_password_is_reported_once_and_sessions_go_on_until_a_reload_mends_it() {
    let mut proxy = with_control().set("control.password", "'wrong'").start().await;
    let line = proxy.log_line(CANNOT_ASK).await;
    assert!(line.contains("password authentication failed"), "{line}");
    assert!(!line.contains("wrong\""), "no password in {line}");
    let client = proxy.connect(&proxy.url("postgres", "postgres")).await.expect("login");
    client.query_one("SELECT 1", &[]).await.expect("an answer");
    proxy.reload(|builder| builder.set("control.password", "'secret of by_scram'"));
    proxy.log_line("the control plane reaches PostgreSQL again").await;
    proxy.log_line(LIMITS).await;
    assert_eq!(proxy.log().matches(CANNOT_ASK).count(), 1);
}

#[tokio::test]
async fn a_server_that_was_away_is_asked_when_it_is_back() {
    let cluster = own_postgres().start().await;
    cluster.stop("fast").await;
    let proxy = with_control().in_front_of(&cluster).start().await;
    let line = proxy.log_line(CANNOT_ASK).await;
    assert!(line.contains("refused"), "{line}");
    cluster.start_again().await;
    proxy.log_line("the control plane reaches PostgreSQL again").await;
    proxy.log_line(LIMITS).await;
    assert_eq!(proxy.log().matches(CANNOT_ASK).count(), 1);
}

#[tokio::test]
async fn its_connection_is_encrypted_where_tls_is_configured() {
    let identity = Authority::new("root").issue("localhost");
    let cluster = own_postgres().tls(&identity.cert, &identity.key).start().await;
    let proxy = with_control().in_front_of(&cluster).set("server.tls.mode", "'require'").start().await;
    proxy.log_line(LIMITS).await;
    let sql = "SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
               WHERE application_name = 'pgweir control' AND ssl";
    eventually("one encrypted connection", async || cluster.count(sql).await == 1).await;
}

#[tokio::test]
async fn it_does_not_log_in_without_the_tls_that_is_demanded() {
    let proxy = with_control().set("server.tls.mode", "'require'").start().await;
    let line = proxy.log_line(CANNOT_ASK).await;
    assert!(line.contains("the server offers no TLS"), "{line}");
}
