//! The vocabulary: statements of each feature, and questions whose answers show what leaked.
//!
//! Go next to [`settings`] for what changes settings and roles, to [`objects`] for what lives in a backend.

mod objects;
mod settings;

use super::features::Feature as F;
use super::rng::Rng;

/// A statement, and values to bind where it has parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sql {
    pub text: String,
    pub values: Vec<Option<String>>,
}

impl From<String> for Sql {
    fn from(text: String) -> Self {
        Self { text, values: Vec::new() }
    }
}

impl From<&str> for Sql {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

fn text(words: &[&str]) -> Sql {
    words.join(" ").into()
}

fn one(rng: &mut Rng, from: &[&'static str]) -> &'static str {
    from[rng.below(from.len())]
}

fn bound(text: &str, values: &[&str]) -> Sql {
    Sql { text: text.to_owned(), values: values.iter().map(|value| Some((*value).to_owned())).collect() }
}

/// A statement that has the effect in question.
pub fn deed(feature: F, rng: &mut Rng) -> Sql {
    match feature {
        F::Settings => settings::set(rng),
        F::LocalSettings => settings::set_local(rng),
        F::ResetAll => "reset all".into(),
        F::SetConfig => settings::set_config(rng),
        F::BoundNames => settings::set_config_of_bound_name(rng, None),
        F::BoundCustom => settings::set_config_of_bound_name(rng, Some("app.x")),
        F::ComputedCustom => settings::computed_custom(rng),
        F::HiddenFunctions => settings::hidden_function(rng),
        F::DeeperFunctions => settings::deeper_function(rng),
        F::Custom => settings::set_custom(rng, ""),
        F::CustomSession => format!("set session {} to '{}'", one(rng, settings::CUSTOM), rng.below(3)).into(),
        F::CustomLocal => settings::set_custom(rng, "local"),
        F::CustomAbsence => {
            text(&["select current_setting('app.x', true) is null, current_setting('app.tenant', true) is null"])
        }
        F::Roles => settings::roles(rng),
        F::RoleByName => {
            format!("select set_config('role', '{}', false)", one(rng, &["differ_a", "differ_b", "none"])).into()
        }
        F::Characteristics => settings::characteristics(rng),
        F::Savepoints => savepoint(rng),
        F::TransactionOptions => transaction_option(rng),
        F::Chain => one(rng, &["commit and chain", "rollback and chain", "commit and no chain"]).into(),
        F::Errors => error(rng),
        F::DeferredErrors => deferred(rng),
        F::Quoting => settings::quoting(rng),
        F::SqlPrepare => objects::sql_prepare(rng),
        F::MixedPrepare => objects::mixed_prepare(rng),
        F::ShowPrepared => {
            "select name, statement, parameter_types, from_sql from pg_prepared_statements order by name".into()
        }
        F::DiscardAll => "discard all".into(),
        F::DiscardParts => {
            one(rng, &["discard plans", "discard temp", "discard temporary", "discard sequences"]).into()
        }
        F::Temp => objects::temp(rng),
        F::TempOfTransaction => objects::temp_of_transaction(rng),
        F::Locks => objects::lock(rng),
        F::TransactionLocks => objects::transaction_lock(rng),
        F::Cursors => objects::cursor(rng, ""),
        F::HoldCursors => objects::cursor(rng, "with hold"),
        F::Listen => objects::listen(rng),
        F::Notify | F::Senders => objects::notify(rng),
        F::Pids => objects::pid(rng),
        F::OwnPid => one(
            rng,
            &[
                "select pg_backend_pid() = {pid:own}",
                "select pid = {pid:own} from pg_stat_activity where pid = pg_backend_pid()",
            ],
        )
        .into(),
        F::Draws => objects::draw(rng),
        F::CurrentValues => objects::current_value(rng),
        F::SettingFunctions => settings::setting_function(rng),
        F::LeavingFunctions => objects::leaving_function(rng),
        F::Named | F::Portals => read(rng),
    }
}

/// A question about the session's own process, or that of the next, which is idle.
pub fn idle_process(rng: &mut Rng) -> Sql {
    objects::idle_pid(rng)
}

/// A question whose answer shows whether this feature's state is where it belongs.
pub fn probe(feature: F, rng: &mut Rng) -> Sql {
    match feature {
        F::Custom | F::CustomSession | F::CustomLocal | F::BoundCustom | F::ComputedCustom => text(&[
            "select coalesce(nullif(current_setting('app.x', true), ''), '-'),",
            "coalesce(nullif(current_setting('app.tenant', true), ''), '-'),",
            "coalesce(nullif(current_setting('App.Y', true), ''), '-'), (select count(*) from tenants)",
        ]),
        F::Roles | F::RoleByName => one(rng, &[
            "select current_user, session_user, current_setting('role'), current_setting('is_superuser')",
            "select t from secret",
        ]).into(),
        F::Characteristics | F::TransactionOptions => text(&[
            "select current_setting('transaction_isolation'), current_setting('transaction_read_only'),",
            "current_setting('default_transaction_isolation'), current_setting('default_transaction_read_only')",
        ]),
        F::SqlPrepare | F::MixedPrepare => one(rng, &["execute p1", "execute p2(7)", "deallocate p1"]).into(),
        F::Temp | F::TempOfTransaction => one(rng, &[
            "select relname from pg_class where relnamespace = pg_my_temp_schema() order by 1",
            "select to_regclass('pg_temp.t1') is not null, to_regclass('t2') is not null",
            "select * from t1",
            "select count(*) from shared",
        ]).into(),
        F::Locks | F::TransactionLocks => one(rng, &[
            "select objid, objsubid, mode from pg_locks l join pg_database d on d.oid = l.database \
             where locktype = 'advisory' and datname = current_database() order by 1, 2, 3",
            "select pg_try_advisory_xact_lock(1), pg_try_advisory_xact_lock_shared(2)",
        ]).into(),
        F::Cursors | F::HoldCursors => one(rng, &[
            "select name, statement, is_holdable, is_binary, is_scrollable from pg_cursors where name <> '' order by 1",
            "fetch 1 from c1",
            "close c1",
        ]).into(),
        F::Listen | F::Notify | F::Senders => "select * from pg_listening_channels() order by 1".into(),
        F::Draws => "select last_value, is_called from seq_a".into(),
        F::CurrentValues => {
            one(rng, &["select currval('seq_a')", "select lastval()", "select currval('drawn_id_seq')"]).into()
        }
        _ => match rng.below(3) {
            0 => text(&["select t from here"]),
            1 => text(&["show", rng.pick(settings::SETTINGS).0]),
            _ => text(&["select", settings::SHOWN]),
        },
    }
}

/// A plain read, with parameters now and then.
pub fn read(rng: &mut Rng) -> Sql {
    match rng.below(8) {
        0 => bound("select n, t from shared where n = $1::int", &["3"]),
        1 => bound("select $1::int + $2::int", &["1", "41"]),
        2 => bound("select $1::int", &["x"]),
        3 => "select n from shared order by n".into(),
        4 => "select t from here".into(),
        5 => "select timestamptz '2024-02-03 04:05:06+00', interval '1 day 2 hours', '\\x01ff'::bytea, 0.1::float4"
            .into(),
        6 => "insert into drawn (t) values ('x')".into(),
        _ => text(&["select", settings::SHOWN]),
    }
}

fn savepoint(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "savepoint s1",
            "savepoint s1",
            "savepoint s2",
            "rollback to s1",
            "rollback to savepoint s2",
            "release s1",
            "release savepoint s2",
            "rollback to missing",
        ],
    )
    .into()
}

fn transaction_option(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "begin isolation level serializable",
            "begin read only",
            "start transaction isolation level repeatable read, read write",
            "set transaction isolation level repeatable read",
            "set transaction read only",
            "set local transaction_read_only = on",
            "insert into drawn (t) values ('z')",
        ],
    )
    .into()
}

fn error(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "select 1 / 0",
            "selec 1",
            "select * from missing",
            "select missing()",
            "do $$ begin raise exception 'raised' using errcode = 'P0042', detail = 'why', hint = 'how'; end $$",
            "do $$ begin raise notice 'noticed %', 1; end $$",
            "select 'x'::int",
            "rollback prepared 'missing'",
            "",
        ],
    )
    .into()
}

fn deferred(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "insert into children values (42)",
            "insert into children values (null)",
            "set constraints all immediate",
            "set constraints all deferred",
        ],
    )
    .into()
}
