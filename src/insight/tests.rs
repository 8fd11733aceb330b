//! All of it together, through the lists that workers write.

use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::recorder::tests::execution;
use super::view::{Change, Row, Summary};
use super::{Execution, Failed, Filter, Insight, SlowExecution};
use crate::config;
use crate::sql::{Lexing, Patterns};

const MINUTE: Duration = Duration::from_secs(60);

fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + MINUTE * 30_000_000
}

fn insight(max_patterns: usize) -> Insight {
    let config = config::Insight {
        enabled: true,
        max_patterns,
        slow_log_size: 3,
        slow_log_rate: 2,
        sample_parameters: false,
        tags: vec!["controller".to_owned()],
        store: None,
        plans: false,
        max_plans: 10,
    };
    Insight::new(&config, std::sync::Arc::new(Patterns::new(1000)))
}

fn all(insight: &Insight) -> Summary {
    insight.summary(&Filter::default())
}

fn row<'a>(summary: &'a Summary, text: &str) -> Option<&'a Row> {
    let digest = execution(text).digest;
    summary.rows.iter().find(|row| row.pattern.as_ref().map(|name| name.digest) == digest)
}

/// Calls, errors, rows, bytes and time of all rows.
fn totals(summary: &Summary) -> (u64, u64, u64, u64, Duration) {
    summary.rows.iter().fold(Default::default(), |all, row| {
        (all.0 + row.calls, all.1 + row.errors, all.2 + row.rows, all.3 + row.bytes_out, all.4 + row.total.sum)
    })
}

#[test]
fn names_are_found_when_a_pattern_is_learnt_after_it_was_counted() {
    let (insight, text) = (insight(100), "select a from t where b = 1");
    let recorder = insight.recorder();
    recorder.record(execution(text));
    insight.merge(start());
    assert_eq!(&*row(&all(&insight), text).and_then(|row| row.pattern.clone()).expect("counted").text, "");
    insight.patterns().learn(text.as_bytes(), &Lexing::default());
    insight.merge(start());
    let summary = all(&insight);
    let name = row(&summary, text).and_then(|row| row.pattern.as_ref()).expect("counted");
    assert_eq!((&*name.text, &name.reads[..]), ("select a from t where b = $1", &["t".into()][..]));
}

#[test]
fn a_million_patterns_take_the_room_of_a_few_and_all_are_counted() {
    let insight = insight(500);
    let recorder = insight.recorder();
    let mut some = execution("select 1");
    for number in 0..1_000_000_u64 {
        some.digest = Some(crate::sql::Digest::from_number(number.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
        recorder.record(some.clone());
        // What is used all the time stays.
        if number % 10 == 0 {
            recorder.record(execution("select used from t"));
        }
    }
    insight.merge(start());
    let summary = all(&insight);
    assert!(summary.rows.len() <= 501, "{}", summary.rows.len());
    assert_eq!(totals(&summary).0, 1_100_000);
    assert_eq!(summary.folded, 1_000_001 - (summary.rows.len() as u64 - 1));
    assert_eq!(row(&summary, "select used from t").map(|row| row.calls), Some(100_000));
}

#[test]
fn a_list_that_is_full_loses_nothing_though_nobody_merges() {
    let insight = insight(100);
    let recorder = insight.recorder();
    for _ in 0..400_000 {
        recorder.record(execution("select 1"));
    }
    insight.merge(start());
    assert_eq!(totals(&all(&insight)).0, 400_000);
}

#[test]
fn workers_that_write_while_others_merge_lose_nothing() {
    let insight = insight(50);
    std::thread::scope(|threads| {
        for worker in 0..4_u64 {
            let recorder = insight.recorder();
            threads.spawn(move || {
                for number in 0..50_000 {
                    let digest = Some(crate::sql::Digest::from_number(worker + number % 100));
                    recorder.record(Execution { digest, ..execution("select 1") });
                }
            });
        }
        for second in 0..50 {
            insight.merge(start() + Duration::from_secs(second * 10));
            let _ = all(&insight);
        }
    });
    insight.merge(start() + MINUTE * 10);
    assert_eq!(totals(&all(&insight)).0, 200_000);
}

#[test]
fn a_span_of_time_holds_its_own_minutes_and_nothing_else() {
    let insight = insight(100);
    let recorder = insight.recorder();
    for minute in 0..10 {
        recorder.record(execution("select always"));
        if minute == 2 {
            recorder.record(execution("select once"));
        }
        insight.merge(start() + MINUTE * minute);
    }
    let back = |minutes: u32| insight.summary(&Filter { since: Some(MINUTE * minutes), ..Filter::default() });
    assert_eq!(row(&all(&insight), "select always").map(|row| row.calls), Some(10));
    assert_eq!(row(&back(3), "select always").map(|row| row.calls), Some(3 + 1));
    assert!(row(&back(3), "select once").is_none());
    assert_eq!(row(&back(9), "select once").map(|row| row.calls), Some(1));
}

#[test]
fn minutes_tell_the_heaviest_patterns_apart_and_keep_the_sum_of_the_others() {
    let insight = insight(1000);
    let recorder = insight.recorder();
    for number in 0..300_u64 {
        let text = format!("select column_{number} from t");
        recorder.record(Execution { server: (number + 1) * 1_000_000, ..execution(&text) });
    }
    insight.merge(start());
    insight.merge(start() + MINUTE);
    let past = insight.summary(&Filter { since: Some(MINUTE * 5), ..Filter::default() });
    assert_eq!((past.rows.len(), totals(&past).0), (201, 300));
    assert_eq!(totals(&past).4, totals(&all(&insight)).4);
    assert!(row(&past, "select column_299 from t").is_some() && row(&past, "select column_0 from t").is_none());
}

#[test]
fn what_is_new_slower_or_more_frequent_than_before_is_told() {
    let insight = insight(100);
    let recorder = insight.recorder();
    for minute in 0..20 {
        let late = minute >= 10;
        for _ in 0..30 {
            recorder.record(execution("select steady"));
            recorder.record(Execution { server: if late { 9_000_000 } else { 3_000_000 }, ..execution("select slow") });
        }
        for _ in 0..if late { 60 } else { 10 } {
            recorder.record(execution("select frequent"));
        }
        if late {
            recorder.record(execution("select new"));
        }
        insight.merge(start() + MINUTE * minute);
    }
    let trends = insight.trends(MINUTE * 9, &Filter::default());
    let changed = |text: &str| {
        let digest = execution(text).digest;
        let of = |row: &Row| row.pattern.as_ref().map(|name| name.digest);
        trends.iter().find(|trend| of(&trend.now) == digest).map(|trend| trend.change)
    };
    let changes = ["select slow", "select frequent", "select new", "select steady"].map(changed);
    assert_eq!(changes, [Some(Change::Slower), Some(Change::MoreFrequent), Some(Change::New), None]);
}

#[test]
fn the_latest_slow_executions_are_kept() {
    let insight = insight(100);
    let recorder = insight.recorder();
    for number in 0..5_u64 {
        let execution = Execution { rows: number, ..execution("select 1") };
        recorder.slow(SlowExecution { at: start(), execution, values: None, sent: None });
    }
    insight.report_slow();
    assert_eq!(insight.slow(10).len(), 0, "the pattern may still be learnt");
    insight.report_slow();
    let rows: Vec<u64> = insight.slow(10).iter().map(|slow| slow.rows).collect();
    assert_eq!(rows, [4, 3, 2]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_is_folded_the_totals_stay(
        executions in proptest::collection::vec((0_u64..40, 0_u64..3_000_000_000, any::<bool>(), 0_u64..50), 1..300),
        limit in 10_usize..40,
    ) {
        let insight = insight(limit);
        let recorders = [insight.recorder(), insight.recorder()];
        let mut meant = (0, 0, 0, 0, Duration::ZERO);
        for (number, (pattern, server, fails, rows)) in executions.into_iter().enumerate() {
            let failed = fails.then_some(Failed::Error(*b"22012"));
            let one = Execution { server, rows, failed, ..execution(&format!("select c{pattern}")) };
            meant.0 += 1;
            meant.1 += u64::from(fails);
            meant.2 += rows;
            meant.3 += one.bytes_out;
            meant.4 += Duration::from_nanos(one.total());
            recorders[number % 2].record(one);
            if number % 50 == 0 {
                insight.merge(start() + Duration::from_secs(number as u64));
            }
        }
        insight.merge(start() + MINUTE * 7);
        let summary = all(&insight);
        prop_assert_eq!(totals(&summary), meant);
        prop_assert!(summary.rows.len() <= limit + 1);
        let past = insight.summary(&Filter { since: Some(MINUTE * 20), ..Filter::default() });
        prop_assert_eq!(totals(&past), meant);
    }
}

#[test]
fn hours_outlive_the_process_with_names_and_are_told_with_the_minutes_at_hand() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("insight.redb");
    let (text, other) = ("select a from t where b = 1", "select c from t");
    let count = |insight: &Insight, hours: u32| {
        let summary = insight.summary(&Filter { since: Some(MINUTE * 60 * hours), ..Filter::default() });
        [text, other].map(|text| row(&summary, text).map_or(0, |row| row.calls))
    };
    {
        let first = insight(100);
        first.keep_hours(&file).expect("a file");
        let recorder = first.recorder();
        first.patterns().learn(text.as_bytes(), &Lexing::default());
        let (place, application) = (first.place("shop", "till"), first.application(b"web"));
        for _ in 0..3 {
            recorder.record(Execution { place, application, ..execution(text) });
        }
        first.merge(start());
        first.merge(start() + MINUTE);
        first.write_hours();
        recorder.record(Execution { place, application, ..execution(text) });
        first.merge(start() + MINUTE * 2);
        assert_eq!(count(&first, 2), [4, 0]);
        first.end_hours();
    }
    let second = insight(100);
    second.keep_hours(&file).expect("the same file");
    let recorder = second.recorder();
    // Other names come first now.
    let place = second.place("other", "other");
    assert_eq!(second.application(b"other"), 1);
    for (minutes, calls) in [(10, 2), (20, 0), (90, 5), (150, 0)] {
        for _ in 0..calls {
            recorder.record(Execution { place, ..execution(other) });
        }
        second.merge(start() + MINUTE * minutes);
        second.merge(start() + MINUTE * minutes + MINUTE / 2);
        second.write_hours();
    }
    assert_eq!(count(&second, 3), [4, 7], "both processes' hours, and the minutes");
    assert_eq!(count(&second, 1), [0, 5]);
    recorder.record(Execution { place, ..execution(other) });
    second.merge(start() + MINUTE * 150);
    assert_eq!(count(&second, 3), [4, 8], "and the minute at hand");
    let summary = second.summary(&Filter { since: Some(MINUTE * 60 * 3), ..Filter::default() });
    let found = row(&summary, text).expect("known from the file");
    assert_eq!((&*found.database, &*found.user), ("shop", "till"));
    let application = found.applications.first().expect("one");
    assert_eq!((&*application.name, application.calls, application.total()), ("web", 4, found.total.sum));
    assert_eq!(found.applications.len(), 1);
    assert_eq!(&*found.pattern.as_ref().expect("a name").text, "select a from t where b = $1");
    assert_eq!(summary.since, Some(start()));
}

#[test]
fn a_process_that_ends_in_the_first_minute_of_an_hour_loses_nothing_of_the_one_before() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("insight.redb");
    let text = "select a from t";
    {
        let first = insight(100);
        first.keep_hours(&file).expect("a file");
        let recorder = first.recorder();
        for minute in [58, 59, 60] {
            recorder.record(execution(text));
            first.merge(start() + MINUTE * minute);
            first.write_hours();
        }
        first.end_hours();
    }
    let second = insight(100);
    second.keep_hours(&file).expect("the same file");
    second.merge(start() + MINUTE * 70);
    let summary = second.summary(&Filter { since: Some(MINUTE * 120), ..Filter::default() });
    assert_eq!(row(&summary, text).map(|row| row.calls), Some(3));
}

#[test]
fn a_process_that_starts_in_the_first_minute_of_an_hour_tells_what_the_one_before_counted_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("insight.redb");
    let text = "select a from t";
    let hour = start() + MINUTE * 60;
    {
        let first = insight(100);
        first.keep_hours(&file).expect("a file");
        first.recorder().record(execution(text));
        first.merge(hour + MINUTE / 6);
        first.end_hours();
    }
    let second = insight(100);
    second.keep_hours(&file).expect("the same file");
    let recorder = second.recorder();
    let calls = |now: SystemTime| {
        second.merge(now);
        let summary = second.summary(&Filter { since: Some(MINUTE * 120), ..Filter::default() });
        row(&summary, text).map(|row| row.calls)
    };
    assert_eq!(calls(hour + MINUTE / 2), Some(1));
    recorder.record(execution(text));
    assert_eq!(calls(hour + MINUTE / 2), Some(2));
    assert_eq!(calls(hour + MINUTE), Some(2), "and when the minute is over");
    assert_eq!(calls(hour + MINUTE * 70), Some(2), "and the hour");
}
