//! What a user reads of statements that he knows.

use super::{World, settle};

#[tokio::test]
async fn an_error_is_counted_with_its_sqlstate_and_charged_to_the_statement_that_failed() {
    let world = World::start("").await;
    let mut client = world.client().await;
    client.query("select 1 as fine; select 1 / 0 as broken; select 2 as never").await;
    client.query("select 1 / 0 as broken").await;
    client.query("select missing as broken").await;
    settle(&mut client).await;
    let broken = world.row("select 1 / 0 as broken");
    assert_eq!((broken.calls, broken.errors, &broken.sqlstates[..]), (2, 2, &[("22012".into(), 2)][..]));
    assert_eq!(world.row("select 1 as fine").errors, 0);
    assert_eq!(world.row("select missing as broken").sqlstates, [("42703".into(), 1)]);
    let never =
        world.summary().rows.into_iter().filter(|row| row.pattern.as_ref().is_some_and(|n| n.text.contains("never")));
    assert_eq!(never.count(), 0);
}
