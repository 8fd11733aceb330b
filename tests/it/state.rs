//! What sessions leave on a backend in transaction mode: it follows them, or keeps the backend, and never leaks.

use crate::harness::{Frame, WireClient, code, eventually, frame, pgweir, postgres};

#[tokio::test]
async fn a_setting_that_postgresql_does_not_report_follows_its_session_and_no_other() {
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("set work_mem = '7MB'").await;
    one.query("select pg_catalog.set_config('search_path', 'pg_catalog', false)").await;
    assert_eq!(two.value("show work_mem").await, "4MB");
    assert_eq!(two.value("show search_path").await, "\"$user\", public");
    two.query("set work_mem = '9MB'").await;
    assert_eq!(one.value("show work_mem").await, "7MB");
    assert_eq!(one.value("show search_path").await, "pg_catalog");
    one.query("reset work_mem").await;
    assert_eq!(two.value("show work_mem").await, "9MB");
    assert_eq!(one.value("show work_mem").await, "4MB");
    assert_eq!(one.value("show search_path").await, "pg_catalog");
}

#[tokio::test]
async fn a_setting_that_is_rolled_back_is_not_carried_on() {
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("begin").await;
    one.query("set work_mem = '7MB'").await;
    one.query("rollback").await;
    assert_eq!(two.value("show work_mem").await, "4MB");
    assert_eq!(one.value("show work_mem").await, "4MB");
}

#[tokio::test]
async fn a_setting_made_by_a_prepared_statement_follows_its_session() {
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.send(
        &[
            frame::parse("", "select set_config('lock_timeout', $1, false)", &[]),
            frame::bind("", "", &["7s"]),
            frame::execute("", 0),
            frame::sync(),
        ]
        .concat(),
    )
    .await;
    one.until(b'Z').await;
    assert_eq!(two.value("show lock_timeout").await, "0");
    assert_eq!(one.value("show lock_timeout").await, "7s");
}

#[tokio::test]
async fn discard_all_returns_to_what_the_session_started_with() {
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("set work_mem = '7MB'").await;
    one.query("discard all").await;
    assert_eq!(two.value("show work_mem").await, "4MB");
    assert_eq!(one.value("show work_mem").await, "4MB");
}

#[tokio::test]
async fn a_session_with_state_keeps_its_backend_until_it_leaves() {
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("create temp table s_temp (n int)").await;
    one.query("select pg_advisory_lock(4712)").await;
    one.query("set app.user_id = '7'").await;
    for _ in 0..3 {
        assert_eq!(two.value("select pg_try_advisory_xact_lock_shared(4712)").await, "f");
        assert_eq!(one.value("select count(*) from s_temp").await, "0");
        assert_eq!(one.value("show app.user_id").await, "7");
    }
    one.send(&frame::terminate()).await;
    one.until_end().await;
    eventually("nothing is left", async || {
        let direct = postgres().await;
        direct.count("select count(*) from pg_locks where locktype = 'advisory' and objid = 4712").await == 0
            && direct.count("select count(*) from pg_class where relname = 's_temp'").await == 0
    })
    .await;
}

#[tokio::test]
async fn custom_settings_follow_their_session_without_its_backend() {
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("set app.user_id = '7'").await;
    two.query("select set_config('App.User_Id', '8', false)").await;
    assert_eq!(one.value("show app.user_id").await, "7");
    assert_eq!(two.value("show app.user_id").await, "8");
    one.query("begin; set local app.user_id = '9'; commit").await;
    assert_eq!(one.value("select current_setting('app.user_id')").await, "7");
    one.query("reset app.user_id").await;
    assert_eq!(one.value("show app.user_id").await, "");
    assert_eq!(two.value("show app.user_id").await, "8");
}

#[tokio::test]
async fn a_custom_setting_whose_name_is_bound_reaches_no_other_session() {
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.send(
        &[
            frame::parse("", "select set_config($1, $2, false)", &[]),
            frame::bind("", "", &["app.bound", "secret"]),
            frame::execute("", 0),
            frame::sync(),
        ]
        .concat(),
    )
    .await;
    one.until(b'Z').await;
    assert_ne!(two.value("select coalesce(current_setting('app.bound', true), '')").await, "secret");
    assert_eq!(one.value("show app.bound").await, "secret");
}

#[tokio::test]
async fn a_role_follows_its_session_and_no_other() {
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    let login = two.value("select current_user").await;
    one.query("create role s_clerk; create role s_boss").await;
    one.query("set role s_clerk").await;
    assert_eq!(two.value("select current_user").await, login);
    two.query("set session authorization s_boss").await;
    two.query("set work_mem = '7MB'").await;
    assert_eq!(one.value("select current_user").await, "s_clerk");
    assert_eq!(two.value("select session_user || ' ' || current_setting('work_mem')").await, "s_boss 7MB");
    one.query("begin; set local role s_boss").await;
    one.query("rollback").await;
    assert_eq!(one.value("select current_user").await, "s_clerk");
    one.query("reset role").await;
    two.query("reset session authorization").await;
    assert_eq!(one.value("select current_user || session_user").await, [login.clone(), login.clone()].concat());
    assert_eq!(two.value("select current_user || session_user").await, [login.clone(), login].concat());
    two.query("drop role s_clerk; drop role s_boss").await;
}

#[tokio::test]
async fn a_backend_goes_back_as_soon_as_nothing_keeps_it() {
    let ways = [
        ("create temp table s_gone (n int)", "drop table s_gone"),
        ("create temp table s_gone (n int) on commit drop", "select 1"),
        ("create temp table s_gone (n int)", "discard temp"),
        ("select pg_advisory_lock(815)", "select pg_advisory_unlock(815)"),
        ("declare s_gone cursor with hold for select 1", "close s_gone"),
        ("prepare s_gone as select 1", "deallocate s_gone"),
        ("prepare s_gone as select 1", "deallocate all"),
        ("listen s_gone", "unlisten *"),
        ("create temp table s_gone (n int)", "discard all"),
    ];
    // All but one backend may be kept: were one not given back, nobody could have it.
    let proxy = pgweir().pool_size(2).start().await;
    for (takes, frees) in ways {
        let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
        assert_eq!(code(&one.query(takes).await), None, "{takes}");
        assert_eq!(code(&one.query(frees).await), None, "{frees}");
        assert_eq!(code(&two.query("create temp table s_next (n int)").await), None, "after {takes}, {frees}");
        two.query("drop table s_next").await;
    }
}

#[tokio::test]
async fn in_a_transaction_a_statement_that_would_keep_one_backend_too_many_waits_and_fails_before_it_runs() {
    let proxy = pgweir().pool_size(2).set("pool.timeout", "'2s'").start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("create temp table s_first (n int)").await;
    two.query("begin").await;
    let refused = two.query("select pg_advisory_lock(816)").await;
    assert_eq!(code(&refused).as_deref(), Some("53300"));
    assert_eq!(code(&two.query("select 1").await).as_deref(), Some("25P02"));
    assert_eq!(two.query("commit").await.last().map(Frame::summary).as_deref(), Some("ReadyForQuery(I)"));
    assert_eq!(two.value("select count(*) from pg_locks where locktype = 'advisory' and objid = 816").await, "0");
    one.query("drop table s_first").await;
    assert_eq!(code(&two.query("select pg_advisory_lock(816)").await), None);
}

#[tokio::test]
async fn in_a_transaction_a_statement_that_keeps_its_backend_runs_as_soon_as_another_session_keeps_its_own_no_more() {
    let proxy = pgweir().pool_size(3).start().await;
    let (mut one, mut two, mut three) = (proxy.wire().await, proxy.wire().await, proxy.wire().await);
    one.query("create temp table s_turns (n int)").await;
    three.query("create temp table s_turns (n int)").await;
    two.query("begin; create table s_turns_shared (n int)").await;
    two.send(&frame::query("create temp table s_turns (n int)")).await;
    assert_eq!(code(&one.query("drop table s_turns").await), None);
    assert_eq!(code(&two.until(b'Z').await), None);
    assert_eq!(code(&two.query("rollback").await), None);
    three.query("drop table s_turns").await;
}

#[tokio::test]
async fn a_statement_that_waits_in_its_transaction_to_keep_its_backend_can_be_cancelled() {
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("create temp table s_kept (n int)").await;
    two.query("begin").await;
    two.send(&frame::query("select pg_advisory_lock(817)")).await;
    let canceller = two.canceller();
    let cancelling = async {
        loop {
            canceller.fire().await;
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let frames = tokio::select! {
        frames = two.until(b'Z') => frames,
        () = cancelling => unreachable!("it goes on until the statement has its answer"),
    };
    assert_eq!(code(&frames).as_deref(), Some("57014"), "{frames:?}");
    assert_eq!(frames.last().map(Frame::summary).as_deref(), Some("ReadyForQuery(E)"));
    assert_eq!(code(&two.query("rollback").await), None);
    assert_eq!(two.value("select count(*) from pg_locks where locktype = 'advisory' and objid = 817").await, "0");
}

#[tokio::test]
async fn what_code_left_unforeseen_keeps_its_backend_until_others_keep_theirs_no_more() {
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two, mut three) = (proxy.wire().await, proxy.wire().await, proxy.wire().await);
    one.query("create temp table s_foreseen (n int)").await;
    let unforeseen = "do $$ begin execute 'create te' || 'mp table s_unforeseen (n int)'; end $$";
    assert_eq!(code(&two.query(unforeseen).await), None);
    assert_eq!(code(&two.query("insert into s_unforeseen values (7)").await), None);
    // One's backend goes to the third, two's to nobody.
    one.query("drop table s_foreseen").await;
    assert_eq!(code(&three.query("select * from s_unforeseen").await).as_deref(), Some("42P01"));
    assert_eq!(two.value("select n from s_unforeseen").await, "7");
    two.query("drop table s_unforeseen").await;
    assert_eq!(code(&three.query("create temp table s_next (n int)").await), None);
}

#[tokio::test]
async fn what_code_left_unforeseen_ends_its_session_where_it_may_not_be_kept_in_time() {
    let proxy = pgweir().pool_size(2).set("pool.timeout", "'2s'").start().await;
    let (mut one, mut two, mut three) = (proxy.wire().await, proxy.wire().await, proxy.wire().await);
    one.query("create temp table s_foreseen (n int)").await;
    two.query("do $$ begin execute 'create te' || 'mp table s_unforeseen (n int)'; end $$").await;
    assert_eq!(code(&two.until_end().await).as_deref(), Some("53300"));
    assert_eq!(code(&three.query("select * from s_unforeseen").await).as_deref(), Some("42P01"));
}

#[tokio::test]
async fn what_a_function_leaves_behind_follows_or_keeps_the_session_that_called_it() {
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query(
        "create function f_sets(value text) returns void language plpgsql as
           $$ begin perform set_config('app.by_function', value, false); set work_mem = '7MB'; end $$;
         create function f_calls(value text) returns void language sql as $$ select f_sets(value) $$;
         create function f_makes() returns void language plpgsql as
           $$ begin execute 'create temp ' || 'table f_made (n int)'; end $$",
    )
    .await;
    one.query("select f_calls('one')").await;
    two.query("select f_calls('two')").await;
    let shown = "select current_setting('app.by_function') || ' ' || current_setting('work_mem')";
    assert_eq!(one.value(shown).await, "one 7MB");
    assert_eq!(two.value(shown).await, "two 7MB");
    two.query("reset all").await;
    assert_eq!(two.value(shown).await, " 4MB");
    one.query("select f_makes()").await;
    for _ in 0..3 {
        assert_eq!(two.value("select to_regclass('f_made') is null").await, "t");
        assert_eq!(one.value("select count(*) from f_made").await, "0");
    }
}

#[tokio::test]
async fn what_an_anonymous_block_leaves_behind_stays_with_its_session() {
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("do $$ begin perform set_config('app.by_block', 'one', false); set work_mem = '7MB'; end $$").await;
    assert_eq!(two.value("show work_mem").await, "4MB");
    two.query("do $$ begin perform pg_advisory_lock(817); end $$").await;
    assert_eq!(one.value("select pg_try_advisory_xact_lock(817)").await, "f");
    assert_eq!(
        one.value("select current_setting('app.by_block') || ' ' || current_setting('work_mem')").await,
        "one 7MB"
    );
}

#[tokio::test]
async fn currval_tells_what_its_own_session_has_drawn() {
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("create table s_drawn (id serial, t text)").await;
    // Asked once, the pool knows that it matters.
    assert_eq!(code(&one.query("select currval('s_drawn_id_seq')").await).as_deref(), Some("55000"));
    for _ in 0..3 {
        one.query("insert into s_drawn (t) values ('one')").await;
        let drawn = one.value("select max(id) from s_drawn").await;
        two.query("insert into s_drawn (t) values ('two')").await;
        assert_eq!(one.value("select currval('s_drawn_id_seq')").await, drawn);
    }
    one.query("drop table s_drawn").await;
}

#[tokio::test]
async fn a_database_can_be_copied_and_dropped_though_backends_of_it_are_idle() {
    let proxy = pgweir().pool_size(2).start().await;
    let mut one = proxy.wire().await;
    assert_eq!(code(&one.query("drop database s_nowhere").await).as_deref(), Some("3D000"));
    assert_eq!(code(&one.query("create database s_first").await), None);
    let mut there = WireClient::open(proxy.address()).await;
    there.send(&frame::startup(3, 0, &[("user", "postgres"), ("database", "s_first")])).await;
    there.until(b'Z').await;
    assert_eq!(there.value("select 1").await, "1");
    assert_eq!(code(&one.query("create database s_second template s_first").await), None);
    assert_eq!(there.value("select 1").await, "1");
    assert_eq!(code(&one.query("drop database s_first").await), None);
    assert_eq!(code(&one.query("drop database s_second").await), None);
}

#[tokio::test]
async fn a_command_about_roles_that_fails_leaves_their_backends_alone() {
    postgres().await.execute("create role s_kept superuser login; create table s_kept_table (n int)").await;
    postgres().await.execute("alter table s_kept_table owner to s_kept").await;
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two) = (WireClient::login(proxy.address(), "s_kept", "postgres").await, proxy.wire().await);
    let backend = "select pid from pg_stat_activity where pid = pg_backend_pid()";
    let before = one.value(backend).await;
    assert_eq!(code(&two.query("drop role s_kept").await).as_deref(), Some("2BP01"));
    assert_eq!(code(&two.query("alter role s_kept connection limit -5").await).as_deref(), Some("22023"));
    assert_eq!(one.value(backend).await, before);
    assert_eq!(code(&two.query("alter role s_kept set work_mem = '3MB'").await), None);
    eventually("its backend is another one", async || one.value(backend).await != before).await;
}

#[tokio::test]
async fn notifications_reach_a_session_that_listens() {
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.query("listen s_channel").await;
    two.query("notify s_channel, 'hello'").await;
    assert_eq!(one.frame().await.summary(), "NotificationResponse(s_channel, hello)");
    assert_eq!(two.value("select count(*) from pg_listening_channels()").await, "0");
}

#[tokio::test]
async fn sessions_that_keep_backends_leave_one_to_the_others() {
    let proxy = pgweir().pool_size(2).set("pool.timeout", "'2s'").start().await;
    let (mut one, mut two, mut three) = (proxy.wire().await, proxy.wire().await, proxy.wire().await);
    one.query("create temp table s_full (n int)").await;
    let refused = two.query("create temp table s_full (n int)").await;
    let refused = if code(&refused).is_some() { refused } else { two.until_end().await };
    assert_eq!(code(&refused).as_deref(), Some("53300"));
    let detail = refused.iter().find_map(|frame| frame.field(b'D')).unwrap_or_default();
    assert!(detail.contains("pool.max_pinned allows 1") && detail.contains("the client with process id"), "{detail}");
    assert_eq!(three.value("select 1").await, "1");
}

#[tokio::test]
async fn what_is_temporary_by_the_search_path_alone_stays_with_its_session() {
    // In a database of its own: where there are operators of users' or event triggers, everything is asked about.
    postgres().await.execute("create database s_bare").await;
    let proxy = pgweir().pool_size(1).set("pool.timeout", "'2s'").start().await;
    let ways = [
        ("set search_path = pg_temp, public", "create table s_made (n int)"),
        ("begin; set local search_path = pg_temp", "create table s_made as select 1 as n; commit"),
        ("begin; select set_config('search_path', 'nowhere, pg_temp', true)", "select 1 as n into s_made; commit"),
        ("set search_path = pg_temp", "select public.s_makes()"),
    ];
    let mut other = WireClient::login(proxy.address(), "postgres", "s_bare").await;
    other.query("create function s_makes() returns void language sql as 'create table s_made (n int)'").await;
    for (path, make) in ways {
        let mut one = WireClient::login(proxy.address(), "postgres", "s_bare").await;
        assert_eq!((code(&one.query(path).await), code(&one.query(make).await)), (None, None), "{make}");
        let refused = other.query("select * from s_made").await;
        assert_eq!(code(&refused).as_deref(), Some("53300"), "the only backend stays with its session: {path}; {make}");
        assert_eq!(code(&one.query("drop table pg_temp.s_made").await), None, "{path}; {make}");
        assert_eq!(other.value("select to_regclass('s_made') is null").await, "t", "{path}; {make}");
    }
}

#[tokio::test]
async fn a_pool_that_denies_pins_refuses_what_would_need_one_and_serves_the_rest() {
    let proxy = pgweir().set("pool.pin", "'deny'").start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    let refused = one.query("create temp table s_denied (n int)").await;
    let refused = if code(&refused).is_some() { refused } else { one.until_end().await };
    assert_eq!(code(&refused).as_deref(), Some("0A000"));
    let field = |letter| refused.iter().find_map(|frame| frame.field(letter)).unwrap_or_default();
    assert!(field(b'D').contains("temporary objects"), "the feature is named: {}", field(b'D'));
    assert!(field(b'H').contains("pin = \"allow\""), "and the way out: {}", field(b'H'));
    assert_eq!(two.value("select 1").await, "1");
}

#[tokio::test]
async fn a_query_of_a_hundred_kilobytes_is_judged_as_a_short_one_before_it_runs() {
    let proxy = pgweir().set("pool.pin", "'deny'").start().await;
    let mut client = proxy.wire().await;
    client.query("create table s_bulk (n int, t text)").await;
    let rows: Vec<String> = (0..5000).map(|n| format!("({n}, 'a row with some text')")).collect();
    let insert = format!("insert into s_bulk values {}", rows.join(", "));
    assert!(insert.len() > 100_000);
    assert_eq!(code(&client.query(&insert).await), None);
    let refused = client.query(&format!("{insert}; create temp table s_denied_too (n int)")).await;
    assert_eq!(code(&refused).as_deref(), Some("0A000"), "{refused:?}");
    assert_eq!(proxy.wire().await.value("select count(*) from s_bulk").await, "5000");
}

#[tokio::test]
async fn what_a_very_long_text_defines_behind_its_beginning_is_known_to_others() {
    let makes = "create function s_long() returns trigger language plpgsql as $$ begin \
                 perform pg_advisory_lock(1850); return new; end $$; create table s_long (n int)";
    postgres().await.execute(makes).await;
    let proxy = pgweir().pool_size(1).set("limits.held_query", "'64KB'").start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    for _ in 0..2 {
        assert_eq!(code(&one.query("insert into s_long values (1)").await), None);
    }
    let padding = "x".repeat(70_000);
    let trigger = "create trigger g before insert on s_long for each row execute function s_long()";
    assert_eq!(code(&one.query(&format!("select length('{padding}'); {trigger}")).await), None);
    drop(one);
    let mut one = proxy.wire().await;
    assert_eq!(code(&one.query("insert into s_long values (1)").await), None);
    one.send(&frame::terminate()).await;
    one.until_end().await;
    // PostgreSQL may take a moment to end a backend that was closed.
    eventually("it is free", async || two.value("select count(*) from pg_locks where objid = 1850").await == "0").await;
}

#[tokio::test]
async fn a_setting_of_ones_own_that_a_very_long_text_makes_behind_its_beginning_stays_with_its_session() {
    let proxy = pgweir().pool_size(2).set("limits.held_query", "'64KB'").start().await;
    let (mut one, mut other) = (proxy.wire().await, proxy.wire().await);
    let padding = format!("select length('{}')", "x".repeat(300_000));
    for (name, sets) in [
        ("s_own.by_set", "set s_own.by_set = 'kept'"),
        ("s_own.by_call", "select set_config('s_own.by_call', 'kept', false)"),
        ("s_own.by_do", "do $$ begin perform SET_CONFIG ( 's_own.by_do', 'kept', false); end $$"),
        ("s_own.by_literal", "do 'begin perform set_config(''s_own.by_literal'', ''kept'', false); end'"),
    ] {
        assert_eq!(code(&one.query(&format!("{padding}; {sets}; {padding}")).await), None);
        let asks = format!("select coalesce(current_setting('{name}', true), '')");
        for _ in 0..3 {
            assert_eq!(other.value(&asks).await, "", "{name}");
            assert_eq!(one.value(&asks).await, "kept", "{name}");
        }
    }
}

#[tokio::test]
async fn a_setting_that_only_a_function_of_a_superuser_may_set_stays_with_its_session() {
    let sets = "create function s_mighty(text) returns void security definer language plpgsql as $$ begin \
                perform set_config('session_replication_role', $1, false); end $$; create role s_plain login";
    postgres().await.execute(sets).await;
    let proxy = pgweir().pool_size(2).start().await;
    let mut one = WireClient::login(proxy.address(), "s_plain", "postgres").await;
    let mut other = WireClient::login(proxy.address(), "s_plain", "postgres").await;
    one.query("select s_mighty('replica')").await;
    for _ in 0..3 {
        assert_eq!(other.value("show session_replication_role").await, "origin");
        assert_eq!(one.value("show session_replication_role").await, "replica");
    }
    drop(one);
    for _ in 0..3 {
        assert_eq!(other.value("show session_replication_role").await, "origin");
    }
}

#[tokio::test]
async fn a_statement_whose_settings_cannot_be_restored_is_not_run() {
    let direct = postgres().await;
    direct.execute("create table s_guarded (n int); create role s_gone; grant insert on s_guarded to s_gone").await;
    let proxy = pgweir().pool_size(1).start().await;
    let commit = [frame::parse("", "commit", &[]), frame::bind("", "", &[]), frame::execute("", 0)].concat();
    let insert = [frame::parse("", "insert into s_guarded values (3)", &[]), frame::bind("", "", &[])].concat();
    let statements: [&[u8]; 5] = [
        &frame::query("insert into s_guarded values (1)"),
        &frame::query("rollback; insert into s_guarded values (1)"),
        &[frame::query("commit"), frame::query("insert into s_guarded values (1)")].concat(),
        &[commit, insert, frame::execute("", 0), frame::sync()].concat(),
        &[
            frame::parse("", "insert into s_guarded values (2)", &[]),
            frame::bind("", "", &[]),
            frame::execute("", 0),
            frame::sync(),
        ]
        .concat(),
    ];
    let mut other = proxy.wire().await;
    let mut sessions = Vec::new();
    for _ in statements {
        let mut session = proxy.wire().await;
        session.query("set role s_gone").await;
        other.query("select 1").await;
        sessions.push(session);
    }
    direct.execute("drop owned by s_gone; drop role s_gone").await;
    for (mut session, statement) in sessions.into_iter().zip(statements) {
        session.send(statement).await;
        assert_eq!(code(&session.until_end().await).as_deref(), Some("08006"));
        assert_eq!(other.value("select count(*) from s_guarded").await, "0");
    }
}
