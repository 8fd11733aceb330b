//! Who may come in, and what those learn who may not.

use tokio_postgres::error::SqlState;

use crate::harness::{Builder, Proxy, WireClient, code, frame, pgweir, postgres};

async fn one(proxy: &Proxy, user: &str, password: &str) -> Result<String, tokio_postgres::Error> {
    let config =
        format!("host=127.0.0.1 port={} user={user} password='{password}' dbname=postgres", proxy.address().port());
    let client = proxy.connect(&config).await?;
    let row = client.query_one("select current_user::text", &[]).await?;
    Ok(row.get(0))
}

fn users_with(method: &str) -> Builder {
    let users: String = ["by_password", "by_md5", "by_scram"]
        .map(|role| format!("[[users]]\nname = '{role}'\npassword = 'secret of {role}'\n"))
        .concat();
    pgweir().set("listen.auth", &format!("'{method}'")).users(&users)
}

/// The error that a login ends in: code and message.
async fn refusal(proxy: &Proxy, user: &str, password: &str) -> (SqlState, String) {
    let error = one(proxy, user, password).await.expect_err("a refusal");
    let error = error.as_db_error().unwrap_or_else(|| panic!("no answer by the protocol: {error:?}"));
    (error.code().clone(), error.message().to_owned())
}

#[tokio::test]
async fn every_method_of_a_client_meets_every_method_of_the_server() {
    for method in ["password", "md5", "scram-sha-256"] {
        let proxy = users_with(method).start().await;
        for role in ["by_password", "by_md5", "by_scram"] {
            let user = one(&proxy, role, &format!("secret of {role}")).await;
            assert_eq!(user.unwrap_or_else(|error| panic!("{method}, {role}: {error:?}")), role);
        }
    }
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_user_are_told_the_same() {
    for method in ["password", "md5", "scram-sha-256"] {
        let proxy = users_with(method).start().await;
        let (code, wrong) = refusal(&proxy, "by_scram", "guess").await;
        assert_eq!(code, SqlState::INVALID_PASSWORD, "{method}");
        let (code, unknown) = refusal(&proxy, "by_guess", "guess").await;
        assert_eq!(code, SqlState::INVALID_PASSWORD, "{method}");
        assert_eq!(wrong.replace("by_scram", "NAME"), unknown.replace("by_guess", "NAME"), "{method}");
        proxy.log_line("by_guess").await;
    }
}

#[tokio::test]
async fn a_scram_secret_is_enough_for_both_sides() {
    let secret: String = {
        let admin = postgres().await.admin().await;
        let row = admin.query_one("select rolpassword from pg_authid where rolname = 'by_scram'", &[]).await;
        row.expect("the stored secret").get(0)
    };
    let users = format!("[[users]]\nname = 'by_scram'\npassword = '{secret}'\n");
    let proxy = pgweir().set("listen.auth", "'scram-sha-256'").users(&users).start().await;
    assert!(!proxy.log().contains("SCRAM-SHA-256$"), "no secret in the log");
    assert_eq!(one(&proxy, "by_scram", "secret of by_scram").await.expect("key pass-through"), "by_scram");
    assert_eq!(refusal(&proxy, "by_scram", "guess").await.0, SqlState::INVALID_PASSWORD);
}

#[tokio::test]
async fn an_md5_secret_is_enough_for_an_md5_client() {
    let secret: String = {
        let admin = postgres().await.admin().await;
        let row = admin.query_one("select rolpassword from pg_authid where rolname = 'by_md5'", &[]).await;
        row.expect("the stored secret").get(0)
    };
    let users = format!("[[users]]\nname = 'by_md5'\npassword = '{secret}'\nauth = 'md5'\n");
    let proxy = pgweir().users(&users).start().await;
    assert_eq!(one(&proxy, "by_md5", "secret of by_md5").await.expect("login"), "by_md5");
}

#[tokio::test]
async fn a_client_may_become_another_user_on_the_server() {
    let users = "[[users]]\nname = 'front'\npassword = 'of front'\nauth = 'scram-sha-256'\n\
                 backend_user = 'by_scram'\nbackend_password = 'secret of by_scram'\n";
    let proxy = pgweir().users(users).start().await;
    assert_eq!(one(&proxy, "front", "of front").await.expect("login"), "by_scram");
}

#[tokio::test]
async fn the_servers_own_refusal_is_passed_on_at_once() {
    let users = "[[users]]\nname = 'by_scram'\npassword = 'not what the server has'\nauth = 'scram-sha-256'\n";
    let proxy = pgweir().users(users).start().await;
    let (code, message) = refusal(&proxy, "by_scram", "not what the server has").await;
    assert_eq!(code, SqlState::INVALID_PASSWORD);
    assert!(message.contains("by_scram"), "{message}");
}

#[tokio::test]
async fn an_unknown_database_is_refused() {
    let proxy = pgweir().config("[databases.shop]\ndbname = 'postgres'").start().await;
    let Err(error) = proxy.connect(&proxy.url("postgres", "elsewhere")).await else { panic!("a refusal") };
    assert_eq!(error.code(), Some(&SqlState::INVALID_CATALOG_NAME));
    proxy.connect(&proxy.url("postgres", "shop")).await.expect("the database that is there");
}

#[tokio::test]
async fn trust_beyond_loopback_must_be_forced() {
    let everywhere = pgweir().set("listen.address", "'0.0.0.0:0'");
    let (status, log) = everywhere.clone().start_refused().await;
    assert!(!status.success());
    assert!(log.contains("listen.auth") && log.contains("allow_remote_trust"), "{log}");

    let proxy = everywhere.set("listen.allow_remote_trust", "true").start().await;
    let config = format!("host=127.0.0.1 port={} user=postgres dbname=postgres", proxy.address().port());
    proxy.connect(&config).await.expect("everybody is trusted");
}

#[tokio::test]
async fn passwords_never_reach_the_log() {
    let proxy = users_with("password").set("log.level", "'trace'").start().await;
    one(&proxy, "by_scram", "secret of by_scram").await.expect("login");
    refusal(&proxy, "by_scram", "a guess of mine").await;
    proxy.log_line("by_scram").await;
    let log = proxy.log();
    assert!(!log.contains("secret of by_scram") && !log.contains("a guess of mine"), "{log}");
}

#[tokio::test]
async fn garbage_instead_of_a_password_message_is_refused_politely() {
    for method in ["password", "md5", "scram-sha-256"] {
        let proxy = users_with(method).start().await;
        for body in
            [&b""[..], b"\0", b"no terminator", b"SCRAM-SHA-256\0\xff\xff\xff\xff", b"SCRAM-SHA-256\0\0\0\0\x05n"]
        {
            let mut client = WireClient::open(proxy.address()).await;
            client.send(&frame::startup(3, 0, &[("user", "by_scram"), ("database", "postgres")])).await;
            assert_eq!(client.frame().await.tag(), b'R');
            client.send(&frame::message(b'p', body)).await;
            // An exchange that may still be a good one would otherwise be waited for.
            client.shut_down_writing().await.ok();
            let frames = client.until_end().await;
            assert!(frames.iter().all(|frame| frame.tag() != b'Z'), "{method} {body:?}: {frames:?}");
        }
        one(&proxy, "by_scram", "secret of by_scram").await.expect("others log in");
    }
}

#[tokio::test]
async fn what_follows_a_password_is_no_part_of_it() {
    for method in ["password", "md5"] {
        let proxy = users_with(method).start().await;
        let mut client = WireClient::open(proxy.address()).await;
        client.send(&frame::startup(3, 0, &[("user", "by_password"), ("database", "postgres")])).await;
        assert_eq!(client.frame().await.tag(), b'R');
        client.send(&frame::message(b'p', b"secret of by_password\0and more\0")).await;
        assert_eq!(code(&client.until_end().await).as_deref(), Some("08P01"), "{method}");
    }
}

#[tokio::test]
async fn a_message_before_the_password_is_refused() {
    let proxy = users_with("scram-sha-256").start().await;
    let mut client = WireClient::open(proxy.address()).await;
    client.send(&frame::startup(3, 0, &[("user", "by_scram"), ("database", "postgres")])).await;
    client.send(&frame::query("select 1")).await;
    let frames = client.until_end().await;
    assert!(frames.iter().all(|frame| !matches!(frame.tag(), b'Z' | b'D')), "{frames:?}");
}

#[tokio::test]
async fn what_postgresql_warns_of_at_a_login_reaches_every_client() {
    let direct = postgres().await.admin().await;
    let made = "create database a_collated template template0 locale_provider icu icu_locale 'en'";
    direct.batch_execute(made).await.unwrap();
    direct.batch_execute("update pg_database set datcollversion = '1' where datname = 'a_collated'").await.unwrap();
    let proxy = pgweir().pool_size(1).start().await;
    for _ in 0..2 {
        let mut client = WireClient::open(proxy.address()).await;
        client.send(&frame::startup(3, 0, &[("user", "postgres"), ("database", "a_collated")])).await;
        let greeting = client.until(b'Z').await;
        let warned = greeting.iter().find(|frame| frame.tag() == b'N').and_then(|frame| frame.field(b'M'));
        assert_eq!(warned.as_deref(), Some("database \"a_collated\" has a collation version mismatch"), "{greeting:?}");
    }
    proxy.wire().await.query("drop database a_collated").await;
}
