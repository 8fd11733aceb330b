//! Reports of made-up values.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::super::Rights;
use super::super::reports::{Report, Wanted};
use super::super::table::Value;
use super::{Made, console};
use crate::insight::view::{
    Application, Change, PatternName, PatternPlan, Repeated, Repetition, Row, Slow, Summary, Times, Trend,
};
use crate::sql::{Digest, Kind, Lexing, Shape};

fn pattern(text: &str) -> Arc<PatternName> {
    Arc::new(PatternName {
        digest: Digest::of(text.as_bytes(), &Lexing::default()),
        fingerprint: None,
        text: text.into(),
        kind: Kind::Read,
        reads: ["b".into(), "a".into()].into(),
        writes: ["a".into()].into(),
        shape: Shape::default(),
    })
}

fn times(millis: u64) -> Times {
    let time = Duration::from_millis(millis);
    Times {
        count: 1,
        sum: time,
        min: time,
        max: time,
        mean: time,
        p50: time,
        p90: time,
        p95: time,
        p99: time,
        ..Times::default()
    }
}

fn application(name: &str, calls: u64, millis: u64) -> Application {
    let (none, server) = (Duration::ZERO, Duration::from_millis(millis));
    Application { name: name.into(), calls, errors: 0, rows: calls, wait: none, server, drain: none }
}

fn row(text: Option<&str>, millis: u64) -> Row {
    Row {
        pattern: text.map(pattern),
        database: "shop".into(),
        user: "till".into(),
        calls: 3,
        errors: 1,
        sqlstates: vec![("40001".into(), 1)],
        cancelled: 0,
        timed_out: 0,
        rows: 9,
        bytes_in: 1,
        bytes_out: 2,
        wait: times(0),
        server: times(millis),
        drain: times(0),
        total: times(millis),
        budget: None,
        in_transaction: 0,
        extended: 3,
        idle_after: Times::default(),
        first_seen: SystemTime::UNIX_EPOCH,
        last_seen: SystemTime::UNIX_EPOCH,
        applications: vec![application("web", 2, millis), application("cron", 1, 0)],
        tags: vec![("route".into(), "/x".into(), 2)],
    }
}

fn made() -> Made {
    let slow = Slow {
        at: SystemTime::UNIX_EPOCH,
        pattern: pattern("SELECT $1"),
        database: "shop".into(),
        user: "till".into(),
        application: "web".into(),
        client: 7,
        wait: Duration::from_millis(1),
        server: Duration::from_millis(2),
        drain: Duration::from_millis(4),
        rows: 1,
        together: 3,
        sqlstate: None,
        tags: Vec::new(),
        parameters: Some(vec![Some("it's".into()), None]),
    };
    let repetition = Repetition {
        kind: Repeated::Reads,
        pattern: pattern("SELECT $1"),
        before: None,
        database: "shop".into(),
        user: "till".into(),
        application: "web".into(),
        route: None,
        units: 1,
        executions: 10,
        most: 10,
        wasted_round_trips: 9,
        estimated_saving: Duration::from_millis(9),
        first_seen: SystemTime::UNIX_EPOCH,
        last_seen: SystemTime::UNIX_EPOCH,
        advice: Repeated::Reads.advice(false),
    };
    let rows = vec![row(Some("SELECT $1"), 30), row(None, 10), row(Some("SELECT $1, $2"), 60)];
    let summary = Summary { rows, folded: 4, ..Summary::default() };
    let trend = Trend { change: Change::New, now: row(Some("SELECT $1"), 1), before: None };
    let plan = PatternPlan {
        at: SystemTime::UNIX_EPOCH,
        pattern: pattern("SELECT $1"),
        database: "shop".into(),
        outcome: Err("permission denied".to_owned()),
    };
    Made { summary, slow: vec![slow], repetitions: vec![repetition], trends: vec![trend], plans: vec![plan] }
}

fn shown(report: Report, rights: Rights, digest: &str) -> Vec<Vec<(&'static str, Value)>> {
    let wanted = Wanted { rights, since: None, digest };
    let rows = report.rows(&console(made()), wanted).expect("rows");
    rows.into_iter().map(|row| report.columns().iter().map(|column| column.name).zip(row).collect()).collect()
}

fn value(row: &[(&'static str, Value)], name: &str) -> Option<String> {
    row.iter().find(|(column, _)| *column == name).unwrap_or_else(|| panic!("no {name}")).1.to_text()
}

#[tokio::test]
async fn every_row_has_a_value_for_every_column() {
    for report in Report::ALL {
        let digest = pattern("SELECT $1").digest.to_string();
        let wanted = Wanted { rights: Rights::All, since: None, digest: &digest };
        for row in report.rows(&console(made()), wanted).expect("rows") {
            assert_eq!(row.len(), report.columns().len(), "{report:?}");
        }
        let first = report.greatest_first();
        assert!(first.is_none_or(|name| report.columns().iter().any(|column| column.name == name)), "{report:?}");
    }
}

#[tokio::test]
async fn shares_are_of_the_time_of_all_patterns_together() {
    let rows = shown(Report::Queries, Rights::All, "");
    let shares: Vec<_> = rows.iter().map(|row| value(row, "share")).collect();
    assert_eq!(shares, ["30", "10", "60"].map(|share| Some(share.to_owned())));
    assert_eq!(value(&rows[0], "applications").as_deref(), Some("web 2, cron 1"));
    assert_eq!(value(&rows[0], "tables").as_deref(), Some("a, b"));
    assert_eq!((value(&rows[1], "digest"), value(&rows[1], "query").as_deref()), (None, Some("<other>")));
}

#[tokio::test]
async fn applications_have_their_own_figures_of_each_pattern() {
    let rows = shown(Report::Applications, Rights::All, "");
    let web: Vec<_> = rows.iter().filter(|row| value(row, "application").as_deref() == Some("web")).collect();
    let of = |name: &str| web.iter().map(|row| value(row, name)).collect::<Vec<_>>();
    assert_eq!(of("share"), ["30", "10", "60"].map(|share| Some(share.to_owned())), "of the time of this application");
    assert_eq!(of("mean_ms"), ["15", "5", "30"].map(|mean| Some(mean.to_owned())));
    assert_eq!(of("calls"), vec![Some("2".to_owned()); 3]);
    let digest = pattern("SELECT $1").digest.to_string();
    let facts = shown(Report::Query, Rights::All, &digest);
    let told: Vec<_> = facts.iter().filter(|row| value(row, "name").as_deref() == Some("application")).collect();
    assert_eq!(value(told[0], "value").as_deref(), Some("web: 2 calls, 0 errors, 2 rows, 30 ms"));
}

#[tokio::test]
async fn sampled_values_are_for_those_who_may_do_everything() {
    let all = shown(Report::Slow, Rights::All, "");
    assert_eq!(value(&all[0], "parameters").as_deref(), Some("$1 = 'it''s', $2 = NULL"));
    assert_eq!(value(&all[0], "total_ms").as_deref(), Some("7"));
    let look = shown(Report::Slow, Rights::Look, "");
    assert_eq!(value(&look[0], "parameters").as_deref(), Some("<insufficient privilege>"));
}

#[tokio::test]
async fn a_pattern_is_found_by_the_beginning_of_its_digest_unless_two_begin_alike() {
    let digest = pattern("SELECT $1").digest.to_string();
    let facts = shown(Report::Query, Rights::All, &digest[..12]);
    let fact = |name: &str| {
        let row = facts.iter().find(|row| value(row, "name").as_deref() == Some(name));
        row.and_then(|row| value(row, "value"))
    };
    assert_eq!((fact("digest"), fact("calls")), (Some(digest), Some("3".to_owned())));
    let wanted = |digest| Wanted { rights: Rights::All, since: None, digest };
    let refused = |digest| Report::Query.rows(&console(made()), wanted(digest)).expect_err("no single pattern").code;
    assert_eq!(refused(""), "42725");
    assert_eq!(refused("zz"), "42704");
}
