//! Settings that cannot be told to a backend any more: who wants them learns that, and nobody else does.

use crate::harness::{Frame, WireClient, code, frame, pgweir, postgres};

/// What a session sets, and what makes it impossible meanwhile.
const VANISHING: [(&str, &str); 5] = [
    ("set role rp_role", "drop role rp_role"),
    ("set session authorization rp_login", "drop role rp_login"),
    ("set default_text_search_config = 'public.rp_words'", "drop text search configuration rp_words"),
    (
        "select set_config('default_text_search_config', 'public.rp_texts', false)",
        "drop text search configuration rp_texts",
    ),
    ("set work_mem = '8MB'; set role rp_second", "drop role rp_second"),
];

#[tokio::test]
async fn a_session_whose_setting_has_vanished_ends_without_its_statement_and_others_go_on() {
    let direct = postgres().await;
    direct
        .execute(
            "create role rp_role; create role rp_login; create role rp_second; create table rp_written (n int); \
             create text search configuration rp_words (copy = english); \
             create text search configuration rp_texts (copy = english); \
             grant insert on rp_written to public",
        )
        .await;
    let proxy = pgweir().pool_size(1).start().await;
    let mut other = proxy.wire().await;
    other.query("set work_mem = '7MB'").await;
    for (sets, vanishes) in VANISHING {
        let mut one = proxy.wire().await;
        assert_eq!(code(&one.query(sets).await), None, "{sets}");
        // The backend is told of the other session what it has set.
        assert_eq!(other.value("show work_mem").await, "7MB");
        direct.execute(vanishes).await;
        one.send(&frame::query("insert into rp_written values (1)")).await;
        let last = one.until_end().await;
        let summaries: Vec<String> = last.iter().map(Frame::summary).collect();
        assert_eq!(summaries, ["ErrorResponse(08006)", "End"], "{sets}: {last:?}");
        let field = |letter| last[0].field(letter).unwrap_or_default();
        assert_eq!(field(b'S'), "FATAL", "{sets}");
        let name = vanishes.rsplit(' ').next().unwrap_or_default();
        assert!(field(b'M').contains(name), "what has vanished is named: {last:?}");
        assert!(field(b'D').contains("not run") && field(b'H').contains("connect again"), "{last:?}");
        assert_eq!(other.value("select count(*) from rp_written").await, "0", "{sets}");
        let whoever = "select concat_ws(' ', current_user, session_user, current_setting('work_mem'))";
        assert_eq!(other.value(whoever).await, "postgres postgres 7MB", "{sets}");
        assert_eq!(proxy.wire().await.value(whoever).await, "postgres postgres 4MB", "{sets}");
    }
}

#[tokio::test]
async fn a_session_that_may_not_set_any_more_what_it_has_set_ends_and_others_go_on() {
    let direct = postgres().await;
    direct
        .execute(
            "create role rp_waning login; create role rp_team; grant rp_team to rp_waning; \
             create table rp_teams (n int); grant insert, select on rp_teams to public",
        )
        .await;
    let proxy = pgweir().pool_size(1).start().await;
    let login = async || WireClient::login(proxy.address(), "rp_waning", "postgres").await;
    let (mut one, mut other) = (login().await, login().await);
    one.query("set role rp_team").await;
    assert_eq!(other.value("select current_user").await, "rp_waning");
    direct.execute("revoke rp_team from rp_waning").await;
    let insert = [
        frame::parse("", "insert into rp_teams values (1)", &[]),
        frame::bind("", "", &[]),
        frame::execute("", 0),
        frame::sync(),
    ];
    one.send(&insert.concat()).await;
    let last = one.until_end().await;
    assert_eq!(code(&last).as_deref(), Some("08006"), "{last:?}");
    assert_eq!(other.value("select count(*) from rp_teams").await, "0");
    assert_eq!(other.value("select current_user").await, "rp_waning");
}
