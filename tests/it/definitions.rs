//! Who prepares a statement gets what it means now, whatever backends hold of it from before.

use crate::harness::{Frame, Proxy, WireClient, code, eventually, frame, pgweir, postgres};

/// One execution as an unnamed or named statement that is prepared for it.
fn batch(name: &str, sql: &str, values: &[&str]) -> Vec<u8> {
    let close = if name.is_empty() { Vec::new() } else { frame::named(b'C', b'S', name) };
    let bind = frame::bind("", name, values);
    [close, frame::parse(name, sql, &[]), bind, frame::execute("", 0), frame::sync()].concat()
}

async fn run(client: &mut WireClient, name: &str, sql: &str, values: &[&str]) -> Vec<Frame> {
    client.send(&batch(name, sql, values)).await;
    client.until(b'Z').await
}

/// Has all backends of the pool hold the statement, under whatever name.
async fn make_known(proxy: &Proxy, sql: &str, values: &[&str]) {
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    for name in ["", "s"] {
        for _ in 0..20 {
            assert_eq!(code(&run(&mut one, name, sql, values).await), None, "{sql}");
        }
    }
    one.query("begin").await;
    assert_eq!(code(&run(&mut one, "s", sql, values).await), None, "{sql}");
    assert_eq!(code(&run(&mut two, "s", sql, values).await), None, "{sql}");
    one.query("rollback").await;
}

#[tokio::test]
async fn a_parameter_has_the_type_that_its_column_has_now() {
    let proxy = pgweir().pool_size(2).start().await;
    let mut migrating = proxy.wire().await;
    migrating.query("create table df_at (id int, at timestamp)").await;
    let insert = "insert into df_at values (1, $1)";
    make_known(&proxy, insert, &["2024-01-01 10:00+05"]).await;
    migrating.query("begin; truncate df_at; alter table df_at alter at type timestamptz; commit").await;
    let (mut new, mut held) = (proxy.wire().await, proxy.wire().await);
    for name in ["", "t"] {
        assert_eq!(code(&run(&mut new, name, insert, &["2024-01-01 10:00+05"]).await), None);
        held.query("begin").await;
        assert_eq!(code(&run(&mut new, name, insert, &["2024-01-01 10:00+05"]).await), None);
        held.query("commit").await;
    }
    let stored = "select string_agg(distinct (at at time zone 'UTC')::text, ',') from df_at";
    assert_eq!(new.value(stored).await, "2024-01-01 05:00:00");
}

#[tokio::test]
async fn a_type_that_was_replaced_by_one_of_its_name_is_the_new_one() {
    let proxy = pgweir().pool_size(2).start().await;
    let mut migrating = proxy.wire().await;
    migrating.query("create type df_mood as enum ('a'); create table df_moods (mood df_mood)").await;
    let insert = "insert into df_moods values ($1)";
    make_known(&proxy, insert, &["a"]).await;
    let migration = "begin; alter type df_mood rename to df_old; create type df_mood as enum ('a', 'b'); \
                     alter table df_moods alter mood type df_mood using mood::text::df_mood; drop type df_old; commit";
    assert_eq!(code(&migrating.query(migration).await), None);
    let (mut new, mut held) = (proxy.wire().await, proxy.wire().await);
    held.query("begin").await;
    for name in ["", "t"] {
        for _ in 0..2 {
            assert_eq!(code(&run(&mut new, name, insert, &["b"]).await), None, "named '{name}'");
        }
        held.query("commit").await;
    }
}

#[tokio::test]
async fn a_function_that_another_user_calls_has_the_type_that_was_made_anew() {
    postgres().await.execute("create role df_caller login").await;
    let proxy = pgweir().pool_size(2).start().await;
    let mut migrating = proxy.wire().await;
    let function = "create function df_least() returns text language plpgsql as \
                    $$ declare least df_size := enum_first(null::df_size); begin return least; end $$";
    migrating.query("create type df_size as enum ('small')").await;
    migrating.query(function).await;
    let mut before = WireClient::login(proxy.address(), "df_caller", "postgres").await;
    assert_eq!(before.value("select df_least()").await, "small");
    assert_eq!(code(&migrating.query("drop type df_size; create type df_size as enum ('tiny')").await), None);
    let mut new = WireClient::login(proxy.address(), "df_caller", "postgres").await;
    assert_eq!(new.value("select df_least()").await, "tiny");
}

#[tokio::test]
async fn backends_outlast_tables_but_those_that_functions_have_types_of() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut client = proxy.wire().await;
    let backend = "select pid from pg_stat_activity where pid = pg_backend_pid()";
    for (name, body, stays) in [
        ("df_plain", "declare c df_columns; begin end", true),
        ("df_typed", "declare c df_columns.c%type; begin end", false),
        ("df_array", "declare c df_columns[]; begin end", false),
    ] {
        client.query("create table df_columns (c int); create table df_others (c int)").await;
        let function = format!("create function {name}() returns void language plpgsql as $$ {body} $$");
        assert_eq!(code(&client.query(&function).await), None);
        assert_eq!(code(&client.query(&format!("select {name}()")).await), None);
        let before = client.value(backend).await;
        client.query("alter table df_others drop column c").await;
        client.query("drop table df_others").await;
        client.query("drop table if exists df_mine; create temp table df_mine (c int)").await;
        assert_eq!(client.value(backend).await, before, "{name}");
        // Its own temporary table is in nobody's way.
        client.query("drop table df_columns").await;
        client.query("drop table df_mine").await;
        assert_eq!(client.value(backend).await == before, stays, "{name}");
    }
}

#[tokio::test]
async fn a_reload_forgets_nothing_that_backends_have_plans_of() {
    let mut proxy = pgweir().pool_size(1).start().await;
    let mut first = proxy.wire().await;
    let function = "create function df_month() returns text language plpgsql as \
                    $$ begin return extract(month from '01/02/2020'::date); end $$";
    first.query(function).await;
    first.query("set datestyle = 'iso, dmy'").await;
    assert_eq!(first.value("select df_month()").await, "2");
    proxy.reload(|builder| builder.set("pool.query_timeout", "'1h'"));
    proxy.log_line("query_timeout").await;
    let mut second = proxy.wire().await;
    assert_eq!(second.value("select df_month()").await, "1");
}

#[tokio::test]
async fn what_is_prepared_in_a_transaction_after_a_change_is_not_refused_for_it() {
    let proxy = pgweir().pool_size(1).start().await;
    let mut migrating = proxy.wire().await;
    migrating.query("create table df_wide (a int)").await;
    let select = "select * from df_wide where a = $1";
    make_known(&pgweir().pool_size(2).start().await, select, &["1"]).await;
    let mut client = proxy.wire().await;
    for _ in 0..20 {
        run(&mut client, "", select, &["1"]).await;
    }
    migrating.query("alter table df_wide add b int").await;
    client.query("begin").await;
    let frames = run(&mut client, "", select, &["1"]).await;
    assert_eq!(code(&frames), None, "{frames:?}");
    client.query("commit").await;
}

#[tokio::test]
async fn a_change_that_went_past_pgweir_is_noticed_before_long() {
    let proxy = pgweir().pool_size(1).start().await;
    postgres().await.execute("create table df_past (n int)").await;
    let insert = "insert into df_past values ($1)";
    let mut client = proxy.wire().await;
    for _ in 0..20 {
        assert_eq!(code(&run(&mut client, "", insert, &["1"]).await), None);
    }
    postgres().await.execute("alter table df_past alter n type text").await;
    let mut client = proxy.wire().await;
    eventually("text is taken", async || code(&run(&mut client, "", insert, &["word"]).await).is_none()).await;
}

#[tokio::test]
async fn now_in_a_string_is_when_its_client_prepared_it() {
    let proxy = pgweir().pool_size(1).start().await;
    let select = "select 'now'::timestamptz = now(), $1";
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    for client in [&mut one, &mut two] {
        for name in [""; 20].into_iter().chain(["s", "t"]) {
            let frames = run(client, name, select, &["x"]).await;
            assert!(frames.iter().any(|frame| frame.summary() == "DataRow(t, x)"), "'{name}': {frames:?}");
        }
    }
}

#[tokio::test]
async fn what_another_database_makes_of_a_text_is_nothing_to_this_one() {
    let cluster = postgres().await;
    cluster.execute("create database df_other").await;
    let proxy = pgweir().pool_size(2).start().await;
    let other = async || WireClient::login(proxy.address(), "postgres", "df_other").await;
    let text = "select n from df_both";
    let prepare = [frame::parse("s", text, &[]), frame::sync()].concat();
    let bind = [frame::bind("", "s", &[]), frame::execute("", 0), frame::sync()].concat();
    let (mut here, mut there) = (proxy.wire().await, other().await);
    here.query("create table df_both (n int)").await;
    there.query("create table df_both (n int); create table df_only_there (n int)").await;
    // Two prepare it here, on one of two backends.
    let (mut one, mut two, mut holds) = (proxy.wire().await, proxy.wire().await, proxy.wire().await);
    one.query("begin; select 1").await;
    for client in [&mut here, &mut two, &mut there] {
        client.send(&prepare).await;
        assert_eq!(code(&client.until(b'Z').await), None);
    }
    there.query("alter table df_both alter n type bigint").await;
    there.send(&bind).await;
    assert_eq!(code(&there.until(b'Z').await).as_deref(), Some("0A000"));
    holds.query("begin; select 1").await;
    one.query("rollback").await;
    two.send(&bind).await;
    assert_eq!(code(&two.until(b'Z').await), None, "nothing has changed here");
    // Nor is a table that is there one of this database, though no backend is free to say so.
    assert_eq!(code(&run(&mut there, "t", "select n from df_only_there", &[]).await), None);
    one.query("begin; select 1").await;
    two.send(&[frame::parse("t", "select n from df_only_there", &[]), frame::sync()].concat()).await;
    holds.query("rollback").await;
    assert_eq!(code(&two.until(b'Z').await).as_deref(), Some("42P01"));
}

#[tokio::test]
async fn a_parse_is_answered_without_a_backend_only_where_none_may_be_opened() {
    let cluster = postgres().await;
    cluster.execute("create table df_gone (n int)").await;
    let proxy = pgweir().pool_size(2).start().await;
    let mut holds = proxy.wire().await;
    assert_eq!(code(&run(&mut holds, "s", "select n from df_gone", &[]).await), None);
    cluster.execute("drop table df_gone").await;
    holds.query("begin; select 1").await;
    let mut client = proxy.wire().await;
    client.send(&[frame::parse("s", "select n from df_gone", &[]), frame::sync()].concat()).await;
    assert_eq!(code(&client.until(b'Z').await).as_deref(), Some("42P01"));
}
