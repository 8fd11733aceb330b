//! What sessions hear, and when they begin and cease to.

use pgweir::backend::Endpoint;
use pgweir::notify::{NotHeard, When};

use super::{Mail, World, name, payloads};
use crate::harness::eventually;

// === hearing ===

#[tokio::test]
async fn many_idle_sessions_hear_everything_in_order_by_one_backend() {
    let world = World::new().await;
    let mut sessions = Vec::new();
    for _ in 0..50 {
        sessions.push(world.listening(&["news", "more"]).await);
    }
    let notifier = world.notifier().await;
    let expected: Vec<String> = (0..300).map(|n| format!("number {n}")).collect();
    for (n, text) in expected.iter().enumerate() {
        let channel = if n % 3 == 0 { "more" } else { "news" };
        notifier.execute("select pg_notify($1, $2)", &[&channel, text]).await.expect("NOTIFY");
    }
    for session in &sessions {
        assert_eq!(payloads(&session.wait_for_mail(300).await), expected);
    }
    assert_eq!(world.backends().await, 1);
}

#[tokio::test]
async fn a_session_hears_only_its_own_channels_and_none_after_unlisten() {
    let world = World::new().await;
    let (mut one, two) = (world.listening(&["a", "b"]).await, world.listening(&["b"]).await);
    let notifier = world.notifier().await;
    notifier.batch_execute("notify a, '1'; notify b, '2'; notify c, '3'").await.expect("NOTIFY");
    assert_eq!((one.heard().await, two.heard().await), (vec!["1".into(), "2".into()], vec!["2".to_owned()]));
    one.unlisten("b");
    notifier.batch_execute("notify a, '4'; notify b, '5'").await.expect("NOTIFY");
    assert_eq!((one.heard().await, two.heard().await), (vec!["4".to_owned()], vec!["5".to_owned()]));
    one.subscriber.unlisten_all();
    one.subscriber.commit();
    notifier.batch_execute("notify a, '6'").await.expect("NOTIFY");
    two.barrier().await;
    assert!(one.subscriber.is_idle());
    drop(two);
    eventually("PostgreSQL is told that nobody listens", async || {
        world.hub.snapshots().iter().all(|listener| listener.channels == 0)
    })
    .await;
}

#[tokio::test]
async fn what_was_committed_before_listen_was_sent_is_not_heard() {
    let world = World::new().await;
    let _other = world.listening(&["a"]).await;
    let notifier = world.notifier().await;
    for n in 0..100 {
        notifier.batch_execute(&format!("notify a, 'before {n}'")).await.expect("NOTIFY");
        let session = world.listening(&["a"]).await;
        notifier.batch_execute("notify a, 'after'").await.expect("NOTIFY");
        assert_eq!(session.heard().await, ["after"]);
    }
}

#[tokio::test]
async fn a_barrier_brings_everything_that_is_committed() {
    let world = World::new().await;
    let session = world.listening(&["a"]).await;
    let notifier = world.notifier().await;
    for n in 0..500 {
        notifier.batch_execute(&format!("notify a, '{n}'")).await.expect("NOTIFY");
        assert_eq!(session.heard().await, [n.to_string()]);
    }
}

#[tokio::test]
async fn barriers_of_many_sessions_at_once_bring_everything_too() {
    let world = World::new().await;
    let mut tasks = Vec::new();
    for _ in 0..20 {
        let (session, notifier) = (world.listening(&["a"]).await, world.notifier().await);
        tasks.push(tokio::spawn(async move {
            let own = session.client.pid.to_string();
            for n in 0..50 {
                notifier.batch_execute(&format!("notify a, '{own} {n}'")).await.expect("NOTIFY");
                assert!(session.heard().await.contains(&format!("{own} {n}")));
            }
        }));
    }
    for task in tasks {
        task.await.expect("no notification is late");
    }
}

#[tokio::test]
async fn a_session_that_notified_can_wait_until_all_listeners_of_its_database_have_heard() {
    let world = World::new().await;
    let (utf8, latin1) = (world.listening(&["a"]).await, {
        let mut session = world.try_session(Some("LATIN1")).expect("a listener");
        session.listen("a").await.expect("LISTEN");
        session
    });
    let (notifier, mut bystander) = (world.notifier().await, world.session());
    let place = world.plan.target.endpoint();
    for n in 0..100 {
        notifier.batch_execute(&format!("notify a, 'ü {n}'")).await.expect("NOTIFY");
        let ticket = world.hub.barrier(&place, &bystander.client).expect("somebody listens");
        bystander.settled(&ticket).await.expect("a barrier");
        assert_eq!(payloads(&utf8.mail()), [format!("ü {n}")]);
        assert_eq!(payloads(&latin1.mail()), [format!("\u{fffd} {n}")]);
    }
    assert!(world.hub.barrier(&Endpoint { dbname: "other".to_owned(), ..(*place).clone() }, &utf8.client).is_none());
    bystander.listen("b").await.expect("LISTEN");
    assert_eq!(world.backends().await, 2);
}

// === transactions ===

#[tokio::test]
async fn a_listen_that_is_rolled_back_never_hears() {
    let world = World::new().await;
    let (mut session, other) = (world.session(), world.listening(&["a"]).await);
    let notifier = world.notifier().await;
    let ticket = session.subscriber.listen(name("a"), When::AtCommit);
    session.settled(&ticket).await.expect("LISTEN");
    session.settled(&session.subscriber.arm().expect("something to arm")).await.expect("armed");
    notifier.batch_execute("notify a").await.expect("NOTIFY");
    other.barrier().await;
    session.subscriber.rollback();
    assert!(session.subscriber.is_idle());
    notifier.batch_execute("notify a").await.expect("NOTIFY");
    other.barrier().await;
    assert_eq!((session.mail(), other.mail().len()), (Vec::new(), 2));
    assert_eq!(world.hub.snapshots()[0].subscriptions, 1);
}

#[tokio::test]
async fn a_listen_in_a_transaction_hears_from_its_commit_on_its_own_notifications_included() {
    let world = World::new().await;
    let mut session = world.listening(&["always"]).await;
    let (backend, notifier) = (world.notifier().await, world.notifier().await);
    backend.batch_execute("begin; notify a, 'own'").await.expect("NOTIFY");
    let ticket = session.subscriber.listen(name("a"), When::AtCommit);
    session.settled(&ticket).await.expect("LISTEN");
    notifier.batch_execute("notify a, 'too early'; notify always, 'ever'").await.expect("NOTIFY");
    session.settled(&session.subscriber.arm().expect("something to arm")).await.expect("armed");
    backend.batch_execute("commit").await.expect("COMMIT");
    session.barrier().await;
    session.subscriber.commit();
    notifier.batch_execute("notify a, 'later'").await.expect("NOTIFY");
    assert_eq!(session.heard().await, ["ever", "own", "later"]);
}

#[tokio::test]
async fn savepoints_undo_what_followed_them() {
    let world = World::new().await;
    let mut session = world.listening(&["old", "kept"]).await;
    let notifier = world.notifier().await;
    let ticket = session.subscriber.listen(name("before"), When::AtCommit);
    session.settled(&ticket).await.expect("LISTEN");
    session.subscriber.unlisten(name("old"));
    let savepoint = session.subscriber.mark();
    let ticket = session.subscriber.listen(name("after"), When::AtCommit);
    session.settled(&ticket).await.expect("LISTEN");
    session.subscriber.unlisten_all();
    session.subscriber.rollback_to(savepoint);
    session.subscriber.commit();
    let listening: Vec<_> = session.subscriber.channels().cloned().collect();
    assert_eq!(listening, [name("kept"), name("before")]);
    notifier.batch_execute("notify old; notify after; notify kept, 'k'; notify before, 'b'").await.expect("NOTIFY");
    assert_eq!(session.heard().await, ["k", "b"]);
}

#[tokio::test]
async fn what_came_during_a_transaction_that_unlistens_is_not_delivered_after_it() {
    let world = World::new().await;
    let mut session = world.listening(&["a", "b"]).await;
    world.notifier().await.batch_execute("notify a, '1'; notify b, '2'").await.expect("NOTIFY");
    session.barrier().await;
    session.subscriber.unlisten(name("a"));
    session.subscriber.commit();
    assert_eq!(session.heard().await, ["2"]);
}

// === names and encodings ===

#[tokio::test]
async fn names_are_exact_bytes_in_the_clients_encoding() {
    let world = World::new().await;
    let longest = "é".repeat(31) + "x";
    let names = ["Mixed Case", "quo\"ted", "back\\slash", "per%cent; drop table x", "ä ö ü", &longest, "'"];
    let mut session = world.listening(&names).await;
    let notifier = world.notifier().await;
    for (n, name) in names.iter().enumerate() {
        notifier.execute("select pg_notify($1, $2)", &[name, &n.to_string()]).await.expect("NOTIFY");
    }
    notifier.batch_execute("notify \"mixed case\", 'wrong'").await.expect("NOTIFY");
    session.barrier().await;
    let heard = session.mail();
    assert_eq!(heard.len(), names.len());
    for (n, mail) in heard.iter().enumerate() {
        let Mail::Note { channel, payload, .. } = mail else { panic!("{mail:?}") };
        assert_eq!((channel.as_slice(), payload.as_slice()), (names[n].as_bytes(), n.to_string().as_bytes()));
    }
    let mut latin1 = world.try_session(Some("LATIN1")).expect("a listener");
    latin1.listen_bytes(b"\xe4 \xf6 \xfc").await.expect("LISTEN");
    notifier.execute("select pg_notify('ä ö ü', 'ß')", &[]).await.expect("NOTIFY");
    latin1.barrier().await;
    let Some(Mail::Note { channel, payload, .. }) = latin1.mail().pop() else { panic!("nothing came") };
    assert_eq!((channel.as_slice(), payload.as_slice()), (&b"\xe4 \xf6 \xfc"[..], &b"\xdf"[..]));
    session.unlisten("ä ö ü");
}

#[tokio::test]
async fn a_name_that_postgresql_refuses_or_cuts_off_is_refused_and_the_others_live_on() {
    let world = World::new().await;
    let mut session = world.listening(&["fine"]).await;
    match session.listen_bytes(b"not utf-8: \xff").await {
        Err(NotHeard::Report(report)) => assert_eq!(report.code(), b"22021"),
        other => panic!("{other:?}"),
    }
    let mut latin1 = world.try_session(Some("LATIN1")).expect("a listener");
    assert!(matches!(latin1.listen_bytes(&[0xe9; 40]).await, Err(NotHeard::TooLong)));
    world.notifier().await.batch_execute("notify fine, 'x'").await.expect("NOTIFY");
    assert_eq!(session.heard().await, ["x"]);
}
