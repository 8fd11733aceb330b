//! Statements about what lives in a backend: statements, temporary objects, locks, cursors, channels, sequences.

use super::{Sql, bound, one, text};
use crate::differential::rng::Rng;

pub fn sql_prepare(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "prepare p1 as select n from shared order by n",
            "prepare p1 as select t from here",
            "prepare p2 (int) as select $1 + 1",
            "prepare p3 as insert into drawn (t) values ('p') returning t",
            "prepare p4 as select set_config('work_mem', '3MB', false)",
            "execute p4",
            "execute p1",
            "execute p2 (41)",
            "execute p3",
            "execute p2",
            "deallocate p1",
            "deallocate prepare p2",
            "deallocate all",
            "deallocate missing",
        ],
    )
    .into()
}

pub fn mixed_prepare(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "deallocate n1",
            "deallocate n2",
            "deallocate prepare n1",
            "deallocate all",
            "execute n1",
            "prepare n1 as select 'sql'",
        ],
    )
    .into()
}

pub fn temp(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "create temp table t1 (n int)",
            "create temporary table t1 (n int, t text)",
            "create temp table if not exists t2 as select n from shared",
            "create table pg_temp.t2 (n int)",
            "select n into temp t2 from shared",
            "create temp view v1 as select n from shared where n > 3",
            "create temp sequence t1_seq",
            "create temp table shared (n int)",
            "insert into t1 values (1), (2)",
            "insert into t1 select n from shared",
            "select * from t1",
            "select count(*) from t2",
            "select * from v1 order by 1",
            "drop table t1",
            "drop table if exists t2",
            "drop view v1",
            "truncate t1",
            "alter table t1 add column more int",
            "set search_path = pg_temp; create table t1 (n int); reset search_path",
            "set search_path = pg_temp, public; create view v1 as select 7 as n; set search_path to default",
            "create index on t1 (n)",
            "alter table t1 rename to t2",
            "create domain pg_temp.short as text",
            "drop domain pg_temp.short",
            "create function pg_temp.own() returns int language sql as 'select 5'",
            "select pg_temp.own()",
            "drop function pg_temp.own()",
        ],
    )
    .into()
}

pub fn temp_of_transaction(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "create temp table t1 (n int) on commit drop",
            "create temp table t2 (n int) on commit delete rows",
            "create temp table t1 (n int) on commit preserve rows",
            "insert into t1 values (5)",
            "insert into t2 values (6)",
            "select * from t1",
            "select * from t2",
            "drop table t2",
        ],
    )
    .into()
}

pub fn lock(rng: &mut Rng) -> Sql {
    match rng.below(10) {
        9 => "select pg_try_advisory_lock(1), 1 / (random() * 0)::int".into(),
        0 => bound("select pg_try_advisory_lock($1::bigint)", &["2"]),
        1 => "select pg_advisory_unlock_all()".into(),
        2 => format!("select pg_advisory_unlock_shared({})", rng.below(3)).into(),
        3 => format!("select pg_try_advisory_lock_shared({})", rng.below(3)).into(),
        4 => format!("select pg_try_advisory_lock(7, {})", rng.below(2)).into(),
        5 => format!("select pg_advisory_unlock(7, {})", rng.below(2)).into(),
        6 => format!("select pg_advisory_unlock({})", rng.below(3)).into(),
        _ => format!("select pg_try_advisory_lock({})", rng.below(3)).into(),
    }
}

pub fn transaction_lock(rng: &mut Rng) -> Sql {
    match rng.below(3) {
        0 => format!("select pg_try_advisory_xact_lock_shared({})", rng.below(3)).into(),
        1 => format!("select pg_try_advisory_xact_lock(7, {})", rng.below(3)).into(),
        _ => format!("select pg_try_advisory_xact_lock({})", rng.below(3)).into(),
    }
}

pub fn cursor(rng: &mut Rng, hold: &str) -> Sql {
    match rng.below(9) {
        8 => text(&["declare c1 cursor", hold, "for select set_config('work_mem', '8MB', false)"]),
        0 | 1 => text(&["declare c1 cursor", hold, "for select n from shared order by n"]),
        2 => text(&["declare c2 scroll cursor", hold, "for select t from shared order by n desc"]),
        3 => "fetch 2 from c1".into(),
        4 => "fetch backward 1 from c2".into(),
        5 => "move 1 in c1".into(),
        6 => "close c1".into(),
        _ => "close all".into(),
    }
}

pub fn listen(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "listen ch1",
            "listen ch1",
            "listen ch2",
            "listen \"Ch 3\"",
            "unlisten ch1",
            "unlisten ch2",
            "unlisten *",
            "unlisten missing",
        ],
    )
    .into()
}

pub fn notify(rng: &mut Rng) -> Sql {
    let payload = rng.below(5);
    match rng.below(6) {
        0 => "notify ch1".into(),
        1 => bound("select pg_notify($1, $2)", &["ch1", "bound"]),
        2 => format!("select pg_notify('Ch 3', '{payload}')").into(),
        3 => format!("notify ch2, '{payload}'").into(),
        4 => format!("select f_notify('ch1', '{payload}')").into(),
        _ => format!("notify ch1, '{payload}'").into(),
    }
}

pub fn draw(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "select nextval('seq_a')",
            "select nextval('seq_b')",
            "select setval('seq_a', 100)",
            "insert into drawn (t) values ('d') returning id",
            "insert into drawn (t) select 'many' from generate_series(1, 3)",
            "select f_draw()",
        ],
    )
    .into()
}

pub fn current_value(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "select currval('seq_a')",
            "select currval('seq_b')",
            "select lastval()",
            "select currval('drawn_id_seq')",
            "select nextval('seq_a')",
        ],
    )
    .into()
}

pub fn leaving_function(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "select f_temp('t1')",
            "select f_temp('t2')",
            "select f_lock(1)",
            "select f_lock(2)",
            "select f_execute('create temp table t1 (n int)')",
            "select f_execute('drop table t1')",
            "select f_execute('listen ch1')",
            "select f_execute('unlisten *')",
            "select f_execute('set work_mem = ''6MB''')",
            "select f_execute('set role differ_a')",
            "do $$ begin execute 'create temp table t2 (n int)'; end $$",
            "do $$ begin perform pg_try_advisory_lock(2); end $$",
        ],
    )
    .into()
}

const OWN_PID: &str = "select count(*), max(application_name) from pg_stat_activity where pid = {pid:own}";

/// A session that is idle holds no lock; through pgweir its backend may be asked something at that moment.
pub fn idle_pid(rng: &mut Rng) -> Sql {
    one(rng, &["select pg_cancel_backend({pid:next})", "select pg_blocking_pids({pid:next})", OWN_PID]).into()
}

/// `{pid:next}` is what the next session was told at its login. A transaction sees `pg_stat_activity` as it was when it
/// first looked, when the next session's backend may not have been started.
pub fn pid(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "select pg_cancel_backend({pid:next})",
            "select count(*) from pg_locks where locktype = 'virtualxid' and pid = {pid:next}",
            OWN_PID,
            "select pg_cancel_backend(pid) from pg_locks where locktype = 'virtualxid' and pid = {pid:next}",
        ],
    )
    .into()
}
