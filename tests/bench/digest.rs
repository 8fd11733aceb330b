//! What it costs to know a statement: `cargo bench --bench digest`.
//!
//! The digest is taken of every statement that is not prepared, so it is measured by its length; `known` adds the look
//! into the memo, and `learn` is what a pattern costs that was never seen.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use pgweir::sql::{Digest, Lexing, Patterns, normalised, suspicious};

fn main() {
    divan::main();
}

const HUNDRED: &str =
    "SELECT id, name, email FROM users WHERE tenant_id = $1 AND status = 'active' ORDER BY name LIMIT 20;";

const NAMES: [&str; 8] = ["pgbench", "hundred", "mapper", "list", "rows", "columns", "literal", "comment"];

fn statement(name: &str) -> String {
    let listed = |count: usize, item: &dyn Fn(usize) -> String| (0..count).map(item).collect::<Vec<_>>().join(", ");
    match name {
        "pgbench" => "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;".to_owned(),
        "hundred" => HUNDRED.to_owned(),
        "mapper" => "SELECT \"users\".\"id\", \"users\".\"name\", \"users\".\"email\", \"orders\".\"id\", \
            \"orders\".\"total\" FROM \"users\" INNER JOIN \"orders\" ON \"orders\".\"user_id\" = \"users\".\"id\" \
            WHERE \"users\".\"tenant_id\" = $1 AND \"orders\".\"state\" IN ($2, $3, $4) AND \"orders\".\"created_at\" \
            > '2024-01-01 00:00:00' ORDER BY \"orders\".\"created_at\" DESC LIMIT $5 /*controller:users*/"
            .to_owned(),
        "list" => format!("select a from t where b in ({})", listed(500, &|n| n.to_string())),
        "rows" => format!("insert into t values {}", listed(500, &|n| format!("({n}, 'name {n}', '2024-01-01')"))),
        "columns" => format!("select {} from t", listed(300, &|n| format!("column_name_{n}"))),
        "literal" => format!("insert into t values ('{}')", "x".repeat(10_000)),
        "comment" => format!("select 1 /* {} */", "words ".repeat(1_000)),
        other => panic!("no statement {other}"),
    }
}

#[divan::bench(args = NAMES)]
fn digest(bencher: Bencher<'_, '_>, name: &str) {
    let text = statement(name);
    let lexing = Lexing::default();
    bencher.counter(BytesCount::new(text.len())).bench(|| Digest::of(black_box(text.as_bytes()), &lexing));
}

#[divan::bench(args = NAMES)]
fn known(bencher: Bencher<'_, '_>, name: &str) {
    let text = statement(name);
    let lexing = Lexing::default();
    let patterns = Patterns::new(5_000);
    for number in 0..5_000 {
        patterns.learn(format!("listen channel_{number}").as_bytes(), &lexing);
    }
    patterns.learn(text.as_bytes(), &lexing);
    bencher.bench(|| patterns.known(black_box(text.as_bytes()), &lexing));
}

#[divan::bench(args = NAMES)]
fn learn(bencher: Bencher<'_, '_>, name: &str) {
    let text = statement(name);
    bencher.with_inputs(|| Patterns::new(1)).bench_refs(|patterns| patterns.learn(text.as_bytes(), &Lexing::default()));
}

#[divan::bench(args = NAMES)]
fn shown(bencher: Bencher<'_, '_>, name: &str) {
    let text = statement(name);
    bencher.bench(|| normalised(black_box(text.as_bytes()), &Lexing::default(), 2048));
}

#[divan::bench(args = NAMES)]
fn suspected(bencher: Bencher<'_, '_>, name: &str) {
    let text = statement(name);
    bencher.bench(|| suspicious(black_box(text.as_bytes()), &Lexing::default()));
}
