//! SHOW POOLS: each pool now, and what it has done so far.

use super::Row;
use crate::admin::table::{Column, Type, Value};
use crate::backend::Refusal;
use crate::pool::PoolSnapshot;

const fn count(name: &'static str) -> Column {
    Column::new(name, Type::Int8)
}

const fn total(name: &'static str) -> Column {
    Column::further(name, Type::Int8)
}

const fn ms(name: &'static str) -> Column {
    Column::further(name, Type::Float8)
}

pub(super) const COLUMNS: &[Column] = &[
    Column::new("database", Type::Text),
    Column::new("user", Type::Text),
    Column::new("mode", Type::Text),
    count("size"),
    count("max_overflow"),
    count("connecting"),
    count("idle"),
    count("leased"),
    count("pinned"),
    count("waiting"),
    total("waiting_for_pin"),
    total("opened"),
    total("closed"),
    count("leases"),
    total("leases_waited"),
    total("leases_stolen"),
    total("leases_handed_over"),
    count("timeouts"),
    total("turned_away"),
    total("connect_failures"),
    total("pins_refused"),
    count("transactions"),
    total("bytes_in"),
    total("bytes_out"),
    ms("wait_p50_ms"),
    Column::new("wait_p95_ms", Type::Float8),
    Column::new("wait_p99_ms", Type::Float8),
    ms("wait_max_ms"),
    ms("hold_p50_ms"),
    Column::new("hold_p95_ms", Type::Float8),
    ms("hold_p99_ms"),
    ms("hold_max_ms"),
    Column::further("pins", Type::Text),
    Column::further("pins_taken", Type::Text),
    Column::new("last_error", Type::Text),
];

pub(super) fn row(pool: &PoolSnapshot<Refusal>) -> Row {
    let (waits, holds) = (pool.waits.summary(), pool.holds.summary());
    vec![
        Value::text(&pool.database),
        Value::text(&pool.user),
        Value::text(pool.mode.word()),
        Value::size(pool.size),
        Value::size(pool.max_overflow),
        Value::size(pool.connecting),
        Value::size(pool.idle),
        Value::size(pool.leased),
        Value::size(pool.pinned),
        Value::size(pool.waiting),
        Value::size(pool.waiting_for_pin),
        Value::count(pool.opened_total),
        Value::count(pool.closed_total),
        Value::count(pool.leases_total),
        Value::count(pool.waited_total),
        Value::count(pool.steals_total),
        Value::count(pool.handed_over_total),
        Value::count(pool.timeouts_total),
        Value::count(pool.turned_away_total),
        Value::count(pool.connect_failures_total),
        Value::count(pool.pins_refused_total),
        Value::count(pool.traffic.transactions),
        Value::count(pool.traffic.bytes_from_clients),
        Value::count(pool.traffic.bytes_to_clients),
        Value::millis(waits.p50),
        Value::millis(waits.p95),
        Value::millis(waits.p99),
        Value::millis(waits.longest),
        Value::millis(holds.p50),
        Value::millis(holds.p95),
        Value::millis(holds.p99),
        Value::millis(holds.longest),
        Value::Text(pool.pins.to_string()),
        Value::Text(pool.pins_total.to_string()),
        pool.last_error.as_ref().map_or(Value::Null, |error| Value::Text(error.to_string())),
    ]
}
