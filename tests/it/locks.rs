//! What others have locked: pgweir's own questions are in nobody's way, and wait for nobody.

use crate::harness::{pgweir, postgres};

#[tokio::test]
async fn what_somebody_else_is_altering_is_not_waited_for_after_the_answer() {
    let direct = postgres().await.admin().await;
    direct
        .batch_execute(
            "create table s_one (n int); create table s_altered (n int);
             create view s_view as select n from s_one union all select n from s_altered;
             create function s_names_the_view() returns int language plpgsql as
             'begin set s.looked = 1; if false then perform * from s_view; end if; return 1; end'",
        )
        .await
        .unwrap();
    let proxy = pgweir().pool_size(1).start().await;
    let (mut one, mut two) = (proxy.wire().await, proxy.wire().await);
    direct.batch_execute("begin; lock table s_altered in access exclusive mode").await.unwrap();
    assert_eq!(one.value("select s_names_the_view()").await, "1");
    assert_eq!(one.value("select 1").await, "1");
    assert_eq!(two.value("select coalesce(current_setting('s.looked', true), '')").await, "");
    // Whoever alters one table may go on to another.
    assert_eq!(one.value("select s_names_the_view()").await, "1");
    direct.batch_execute("alter table s_one add column m int; commit").await.unwrap();
    assert_eq!(one.value("select s_names_the_view()").await, "1");
    assert_eq!(one.value("select current_setting('s.looked')").await, "1");
    assert_eq!(two.value("select coalesce(current_setting('s.looked', true), '')").await, "");
    direct
        .batch_execute("drop function s_names_the_view(); drop view s_view; drop table s_one, s_altered")
        .await
        .unwrap();
}
