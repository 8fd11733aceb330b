//! What it costs to count a statement: `cargo bench --bench insight`.
//!
//! `record` is what a worker pays for each execution; `merge` what the control runtime pays for each, later.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use pgweir::config;
use pgweir::insight::{Execution, Filter, Insight, Place};
use pgweir::sql::{Digest, Lexing, Patterns};
use tokio::time::Instant;

fn main() {
    divan::main();
}

/// Executions between two mergers.
const BATCH: usize = 10_000;

fn insight() -> Insight {
    let config = config::Insight {
        enabled: true,
        max_patterns: 5000,
        slow_log_size: 1000,
        slow_log_rate: 10,
        sample_parameters: false,
        tags: vec!["controller".to_owned()],
        store: None,
        plans: false,
        max_plans: 1,
    };
    Insight::new(&config, Arc::new(Patterns::new(10_000)))
}

fn execution(pattern: u64) -> Execution {
    Execution {
        digest: Some(Digest::from_number(pattern.wrapping_mul(0x9E37_79B9_7F4A_7C15))),
        place: Place::default(),
        application: 1,
        tags: 0,
        client: 7,
        ended: Instant::now(),
        wait: 0,
        server: 120_000 + pattern * 1000,
        drain: 0,
        rows: 1,
        bytes_in: 60,
        bytes_out: 90,
        failed: None,
        in_transaction: false,
        extended: false,
        piped: false,
        together: 1,
    }
}

#[divan::bench]
fn record(bencher: Bencher<'_, '_>) {
    let insight = insight();
    let recorder = insight.recorder();
    let one = execution(1);
    bencher.counter(ItemsCount::new(BATCH)).bench_local(|| {
        for _ in 0..BATCH {
            recorder.record(black_box(&one).clone());
        }
        insight.merge(SystemTime::UNIX_EPOCH);
    });
}

#[divan::bench(args = [1, 100, 5000])]
fn merge(bencher: Bencher<'_, '_>, patterns: u64) {
    let insight = insight();
    let recorder = insight.recorder();
    let fill = || (0..BATCH as u64).for_each(|number| recorder.record(execution(number % patterns)));
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(fill).bench_local_values(|()| {
        insight.merge(SystemTime::UNIX_EPOCH);
    });
}

#[divan::bench]
fn record_alone(bencher: Bencher<'_, '_>) {
    let insight = insight();
    let recorder = insight.recorder();
    let one = execution(1);
    let empty = || insight.merge(SystemTime::UNIX_EPOCH);
    bencher.counter(ItemsCount::new(BATCH)).with_inputs(empty).bench_local_values(|()| {
        for _ in 0..BATCH {
            recorder.record(black_box(&one).clone());
        }
    });
}

#[divan::bench]
fn summary_of_5000_patterns(bencher: Bencher<'_, '_>) {
    let insight = insight();
    let recorder = insight.recorder();
    for number in 0..50_000 {
        recorder.record(execution(number % 5000));
    }
    insight.merge(SystemTime::UNIX_EPOCH);
    bencher.bench_local(|| insight.summary(&Filter::default()));
}

#[divan::bench]
fn summary_of_a_day(bencher: Bencher<'_, '_>) {
    let insight = insight();
    let recorder = insight.recorder();
    for minute in 0..24 * 60_u32 {
        for number in 0..2000 {
            recorder.record(execution(number % 300));
        }
        insight.merge(SystemTime::UNIX_EPOCH + Duration::from_secs(60) * minute);
    }
    let day = Filter { since: Some(Duration::from_secs(24 * 3600)), ..Filter::default() };
    bencher.bench_local(|| insight.summary(&day));
}

#[divan::bench]
fn tags_of_a_statement(bencher: Bencher<'_, '_>) {
    let insight = insight();
    let text = b"SELECT id, name, email FROM users WHERE id = 17 /*controller='users',action='show'*/";
    bencher.bench_local(|| insight.tags().read(black_box(text), &Lexing::default()));
}
