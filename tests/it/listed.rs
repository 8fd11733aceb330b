//! What SQL sees of the statements that a session has prepared.

use crate::harness::{code, frame, pgweir};

#[tokio::test]
async fn sql_sees_exactly_the_statements_that_its_session_has_prepared() {
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    let prepare = |name: &str, text: &str| [frame::parse(name, text, &[]), frame::sync()].concat();
    one.send(&prepare("s_one", "select 1")).await;
    one.until(b'Z').await;
    two.send(&prepare("s_two", "select 2")).await;
    two.until(b'Z').await;
    let listed = "select string_agg(name || ':' || from_sql, ',' order by name) from pg_prepared_statements";
    for _ in 0..2 {
        assert_eq!(one.value(listed).await, "s_one:false");
        assert_eq!(two.value(listed).await, "s_two:false");
    }
    assert_eq!(code(&one.query("execute s_one").await), None);
    assert_eq!(code(&one.query("prepare s_one as select 3").await).as_deref(), Some("42P05"));
    one.query("prepare s_sql as select 4").await;
    assert_eq!(one.value(listed).await, "s_one:false,s_sql:true");
    assert_eq!(code(&one.query("deallocate s_one").await), None);
    assert_eq!(code(&one.query("deallocate s_one").await).as_deref(), Some("26000"));
    one.send(&[frame::bind("", "s_sql", &[]), frame::execute("", 0), frame::sync()].concat()).await;
    assert_eq!(code(&one.until(b'Z').await), None);
    one.send(&[frame::bind("", "s_one", &[]), frame::sync()].concat()).await;
    assert_eq!(code(&one.until(b'Z').await).as_deref(), Some("26000"));
    one.query("deallocate s_sql").await;
    assert_eq!(two.value(listed).await, "s_two:false");
}

#[tokio::test]
async fn statements_are_listed_in_transactions_and_batches_though_one_is_not_valid_any_more() {
    let proxy = pgweir().pool_size(2).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    two.query("create table s_gone (n int)").await;
    let texts = [("s_one", "select 1"), ("s_bad", "select n from s_gone"), ("s_two", "select 2")];
    for (name, text) in texts {
        one.send(&[frame::parse(name, text, &[]), frame::sync()].concat()).await;
        one.until(b'Z').await;
    }
    two.query("drop table s_gone").await;
    let listed = "select string_agg(name, ',' order by name) from pg_prepared_statements where name like 's%'";
    let batch =
        [frame::parse("", listed, &[]), frame::bind("", "", &[]), frame::execute("", 0), frame::sync()].concat();
    assert_eq!(one.value(listed).await, "s_one,s_two");
    one.send(&batch).await;
    assert_eq!(code(&one.until(b'Z').await), None, "by the extended protocol");
    one.query("begin").await;
    one.query("create temp table s_kept (n int); declare s_cursor cursor for select 5").await;
    for _ in 0..2 {
        assert_eq!(one.value(listed).await, "s_one,s_two");
        one.send(&batch).await;
        assert_eq!(code(&one.until(b'Z').await), None, "in a block");
    }
    assert_eq!(one.value("fetch s_cursor").await, "5");
    assert_eq!(code(&one.query("savepoint pgweir; select n from s_kept; rollback to pgweir").await), None);
    one.query("rollback").await;
    one.send(&[frame::parse("s_list", listed, &[]), frame::sync()].concat()).await;
    one.until(b'Z').await;
    for begin in ["select 1", "begin"] {
        one.query(begin).await;
        one.send(&[frame::bind("", "s_list", &[]), frame::execute("", 0), frame::sync()].concat()).await;
        let replies = one.until(b'Z').await;
        assert_eq!(code(&replies), None, "{begin}");
    }
}

#[tokio::test]
async fn a_statement_that_unreadable_code_of_another_session_has_dropped_is_missed_once() {
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    one.send(&[frame::parse("s", "select 1", &[]), frame::sync()].concat()).await;
    one.until(b'Z').await;
    let bound = [frame::bind("", "s", &[]), frame::execute("", 0), frame::sync()].concat();
    one.send(&bound).await;
    assert_eq!(code(&one.until(b'Z').await), None);
    let hidden = "do $$ declare r record; begin for r in execute 'select name from pg_prep' || 'ared_statements' loop \
                  execute 'deal' || 'locate ' || quote_ident(r.name); end loop; end $$";
    assert_eq!(code(&two.query(hidden).await), None);
    one.send(&bound).await;
    one.until(b'Z').await;
    one.send(&bound).await;
    assert_eq!(code(&one.until(b'Z').await), None);
}
