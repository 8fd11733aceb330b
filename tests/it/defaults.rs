//! The server reads its configuration anew: its new defaults reach every session that has not set anything else, its
//! client is told, and they are nobody's settings.

use std::net::SocketAddr;

use crate::harness::{Cluster, Frame, WireClient, code, eventually, frame, own_postgres, pgweir};

/// Gives the server another default, and waits until it gives that to new connections.
async fn set_default(cluster: &Cluster, name: &str, value: &str) {
    cluster.execute(&format!("alter system set {name} = '{value}'")).await;
    cluster.execute("select pg_reload_conf()").await;
    eventually("the new default", async || {
        cluster.count(&format!("select (current_setting('{name}') = '{value}')::int::int8")).await == 1
    })
    .await;
}

/// The last value that these frames report.
fn told(frames: &[Frame], name: &str) -> Option<String> {
    let start = format!("ParameterStatus({name}=");
    let reported = frames.iter().rev().map(Frame::summary);
    reported.filter_map(|frame| Some(frame.strip_prefix(&start)?.strip_suffix(')')?.to_owned())).next()
}

/// Logs in with these parameters: what the client is told.
async fn login(address: SocketAddr, wanted: &[(&str, &str)]) -> (WireClient, Vec<Frame>) {
    let mut client = WireClient::open(address).await;
    let parameters = [&[("user", "postgres"), ("database", "postgres")], wanted].concat();
    client.send(&frame::startup(3, 0, &parameters)).await;
    let frames = client.until(b'Z').await;
    (client, frames)
}

async fn show(client: &mut WireClient, name: &str) -> (String, Vec<Frame>) {
    let frames = client.query(&format!("show {name}")).await;
    let value =
        frames.iter().find(|frame| frame.tag() == b'D').and_then(|row| row.cells().into_iter().next().flatten());
    (value.expect("a value"), frames)
}

#[tokio::test]
async fn a_server_that_is_made_read_only_for_a_while_is_writable_for_all_again() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(1).start().await;
    let (mut first, mut second) = (proxy.wire().await, proxy.wire().await);
    first.query("create table d_read_only (n int)").await;
    let insert = "insert into d_read_only values (1)";
    let setting = "default_transaction_read_only";
    for _ in 0..2 {
        assert_eq!(code(&second.query(insert).await), None);
        set_default(&cluster, setting, "on").await;
        let frames = first.query(insert).await;
        assert_eq!((code(&frames).as_deref(), told(&frames, setting).as_deref()), (Some("25006"), Some("on")));
        let frames = second.query(insert).await;
        assert_eq!((code(&frames).as_deref(), told(&frames, setting).as_deref()), (Some("25006"), Some("on")));
        set_default(&cluster, setting, "off").await;
        let frames = second.query(insert).await;
        assert_eq!((code(&frames), told(&frames, setting).as_deref()), (None, Some("off")));
        let frames = first.query(insert).await;
        assert_eq!((code(&frames), told(&frames, setting).as_deref()), (None, Some("off")));
    }
}

#[tokio::test]
async fn a_new_default_is_told_at_logins_and_leaves_settings_of_sessions_alone() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(2).start().await;
    let (mut one, mut other) = (proxy.wire().await, proxy.wire().await);
    // Both backends are there before the change.
    one.query("begin").await;
    assert_eq!(show(&mut other, "datestyle").await.0, "ISO, MDY");
    one.query("commit").await;
    set_default(&cluster, "datestyle", "German, DMY").await;
    for _ in 0..3 {
        one.query("begin").await;
        assert_eq!(show(&mut one, "datestyle").await.0, "German, DMY");
        assert_eq!(show(&mut other, "datestyle").await.0, "German, DMY");
        one.query("commit").await;
    }
    let (mut late, frames) = login(proxy.address(), &[]).await;
    assert_eq!(told(&frames, "DateStyle").as_deref(), Some("German, DMY"));
    late.query("set datestyle to 'ISO, MDY'").await;
    for _ in 0..3 {
        // On either backend.
        one.query("begin").await;
        assert_eq!(show(&mut late, "datestyle").await.0, "ISO, MDY");
        assert_eq!(show(&mut one, "datestyle").await.0, "German, DMY");
        one.query("commit").await;
        assert_eq!(show(&mut other, "datestyle").await.0, "German, DMY");
        assert_eq!(show(&mut late, "datestyle").await.0, "ISO, MDY");
    }
}

#[tokio::test]
async fn a_default_that_changes_in_a_transaction_with_settings_of_its_own_is_no_setting_of_the_session() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(1).start().await;
    let (mut one, mut other) = (proxy.wire().await, proxy.wire().await);
    for (sets, zone) in [
        ("set local datestyle to 'SQL, DMY'", "Asia/Tokyo"),
        ("select set_config('app.x', '1', true)", "Asia/Aden"),
        ("set app.y to '1'", "Asia/Seoul"),
        ("discard all", "Asia/Dili"),
    ] {
        one.query("begin").await;
        let in_block = code(&one.query(sets).await).is_none();
        set_default(&cluster, "timezone", zone).await;
        if in_block {
            assert_eq!(show(&mut one, "timezone").await.0, zone, "{sets}");
            one.query("commit").await;
        } else {
            one.query("rollback").await;
            assert_eq!(code(&one.query(sets).await), None);
        }
        assert_eq!(show(&mut other, "timezone").await.0, zone, "{sets}");
        set_default(&cluster, "timezone", "UTC").await;
        assert_eq!(show(&mut other, "timezone").await.0, "UTC", "{sets}");
        assert_eq!(show(&mut one, "timezone").await.0, "UTC", "{sets}");
        assert_eq!(show(&mut one, "datestyle").await.0, "ISO, MDY", "{sets}");
    }
}

#[tokio::test]
async fn what_a_client_starts_with_outlives_another_default() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(1).start().await;
    let mut plain = proxy.wire().await;
    let (mut own, _) = login(proxy.address(), &[("TimeZone", "Europe/Paris")]).await;
    for zone in ["Asia/Tokyo", "Asia/Aden"] {
        set_default(&cluster, "timezone", zone).await;
        let (value, frames) = show(&mut own, "timezone").await;
        assert_eq!((value.as_str(), told(&frames, "TimeZone")), ("Europe/Paris", None));
        let (value, frames) = show(&mut plain, "timezone").await;
        assert_eq!((value.as_str(), told(&frames, "TimeZone").as_deref()), (zone, Some(zone)));
        assert_eq!(show(&mut own, "timezone").await.0, "Europe/Paris");
    }
}

#[tokio::test]
async fn what_one_has_set_to_the_default_or_to_what_becomes_it_is_no_others() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(1).start().await;
    set_default(&cluster, "timezone", "UTC").await;
    let (mut one, mut other) = (proxy.wire().await, proxy.wire().await);
    assert_eq!(show(&mut other, "timezone").await.0, "UTC");
    one.query("set timezone to 'UTC'").await;
    set_default(&cluster, "timezone", "Asia/Tokyo").await;
    let (value, frames) = show(&mut other, "timezone").await;
    assert_eq!((value.as_str(), told(&frames, "TimeZone").as_deref()), ("Asia/Tokyo", Some("Asia/Tokyo")));

    one.query("set timezone to 'Asia/Aden'").await;
    set_default(&cluster, "timezone", "Asia/Aden").await;
    let (value, frames) = show(&mut other, "timezone").await;
    assert_eq!((value.as_str(), told(&frames, "TimeZone").as_deref()), ("Asia/Aden", Some("Asia/Aden")));
    let (_, frames) = login(proxy.address(), &[]).await;
    assert_eq!(told(&frames, "TimeZone").as_deref(), Some("Asia/Aden"));
}

#[tokio::test]
async fn discard_all_after_a_new_default_returns_to_what_the_client_started_with() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(1).start().await;
    let (mut own, _) = login(proxy.address(), &[("TimeZone", "Asia/Tokyo")]).await;
    own.query("select 1").await;
    let mut plain = proxy.wire().await;
    for zone in ["Europe/Rome", "Europe/Paris"] {
        set_default(&cluster, "timezone", zone).await;
        assert_eq!(told(&own.query("discard all").await, "TimeZone"), None);
        assert_eq!(show(&mut own, "timezone").await.0, "Asia/Tokyo");
        assert_eq!(told(&plain.query("discard all").await, "TimeZone").as_deref(), Some(zone));
        assert_eq!(show(&mut plain, "timezone").await.0, zone);
    }
}

#[tokio::test]
async fn a_new_default_is_heard_wherever_a_backend_tells_of_it() {
    let cluster = own_postgres().start().await;
    let proxy = pgweir().in_front_of(&cluster).pool_size(1).start().await;
    let mut watching = proxy.wire().await;
    assert_eq!(show(&mut watching, "timezone").await.1.len(), 4);

    // By pgweir's own reset of what the last session had, and by the look at a client's new startup parameters.
    let mut one = proxy.wire().await;
    one.query("set application_name to 'one'").await;
    set_default(&cluster, "timezone", "Asia/Tokyo").await;
    let (_late, frames) = login(proxy.address(), &[("options", "-c work_mem=5MB")]).await;
    assert_eq!(told(&frames, "TimeZone").as_deref(), Some("Asia/Tokyo"));
    let (value, frames) = show(&mut watching, "timezone").await;
    assert_eq!((value.as_str(), told(&frames, "TimeZone").as_deref()), ("Asia/Tokyo", Some("Asia/Tokyo")));

    // In a transaction whose client goes.
    for (sets, zone) in [("set local datestyle to 'SQL'", "Asia/Aden"), ("set app.x to 'y'", "Asia/Dili")] {
        let mut gone = proxy.wire().await;
        gone.query("begin").await;
        gone.query(sets).await;
        set_default(&cluster, "timezone", zone).await;
        gone.query("select 1").await;
        drop(gone);
        let (value, frames) = show(&mut watching, "timezone").await;
        assert_eq!((value.as_str(), told(&frames, "TimeZone").as_deref()), (zone, Some(zone)), "{sets}");
        let (_, frames) = login(proxy.address(), &[]).await;
        assert_eq!(told(&frames, "TimeZone").as_deref(), Some(zone), "{sets}");
    }
}
