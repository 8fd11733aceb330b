//! Statements that change settings and roles.

use super::{Sql, bound, one, text};
use crate::differential::rng::Rng;

/// Settings with values as literals; the last of each is refused by PostgreSQL.
pub const SETTINGS: &[(&str, &[&str])] = &[
    ("work_mem", &["'1MB'", "'7MB'", "4096", "default", "'much'"]),
    ("search_path", &["s_one", "s_two, public", "'s_one, s_two'", "\"$user\", s_two", "''", "default", "7 +"]),
    ("DateStyle", &["German", "'ISO, DMY'", "SQL, MDY", "default", "'Roman'"]),
    ("TimeZone", &["'Asia/Tokyo'", "'UTC'", "-3.5", "default", "local", "'Atlantis'"]),
    ("application_name", &["'it''s me'", "''", "you", "default", "1 +"]),
    ("statement_timeout", &["'5min'", "0", "600000", "default", "'soon'"]),
    ("lock_timeout", &["'4min'", "0", "default", "-5"]),
    ("standard_conforming_strings", &["off", "on", "default", "'perhaps'"]),
    ("client_min_messages", &["error", "warning", "notice", "default", "'loud'"]),
    ("extra_float_digits", &["0", "3", "default", "99"]),
    ("bytea_output", &["escape", "hex", "default", "'base64'"]),
    ("IntervalStyle", &["iso_8601", "'postgres_verbose'", "default", "'long'"]),
    ("client_encoding", &["'UTF8'", "latin1", "default", "'morse'"]),
    ("\"work_mem\"", &["'6MB'", "default"]),
    ("no_such_setting", &["1", "default"]),
];

/// Settings with values as text.
pub const VALUES: &[(&str, &[&str])] = &[
    ("work_mem", &["2MB", "9MB", "x"]),
    ("search_path", &["s_one", "s_two, public", "\"$user\", s_one"]),
    ("DateStyle", &["SQL, DMY", "ISO, YMD"]),
    ("timezone", &["Europe/Vienna", "UTC"]),
    ("application_name", &["bound", ""]),
    ("statement_timeout", &["7min", "0"]),
    ("IntervalStyle", &["sql_standard"]),
];

pub const CUSTOM: &[&str] = &["app.x", "app.tenant", "\"App.Y\""];

pub const SHOWN: &str = "current_setting('work_mem'), current_setting('search_path'), current_setting('datestyle'), \
    current_setting('timezone'), current_setting('application_name'), current_setting('statement_timeout'), \
    current_setting('lock_timeout'), current_setting('standard_conforming_strings'), \
    current_setting('client_min_messages'), current_setting('extra_float_digits'), \
    current_setting('bytea_output'), current_setting('intervalstyle'), \
    coalesce(nullif(current_setting('app.x', true), ''), '-'), current_user";

pub fn set(rng: &mut Rng) -> Sql {
    let (name, values) = rng.pick(SETTINGS);
    let value = rng.pick(values);
    match rng.below(8) {
        0 => text(&["reset", name]),
        1 => text(&["SET SESSION", name, "TO", value]),
        2 => text(&["set", name, "to", value]),
        3 => text(&["/* a remark; */ set", &name.to_uppercase(), "=", value, "-- set"]),
        4 => match rng.below(5) {
            0 => text(&["set", name, "from current"]),
            1 => text(&["set schema", one(rng, &["'s_one'", "'s_two'"])]),
            2 => text(&["set names", one(rng, &["'latin1'", "'UTF8'", "default"])]),
            3 => text(&["set", name, "to 1, 2"]),
            _ => text(&["set session", name, "to", value, "; set local", name, "to default"]),
        },
        5 if *name != "search_path" => text(&[
            "set time zone",
            one(rng, &["'Asia/Tokyo'", "interval '+02:00' hour to minute", "default", "local"]),
        ]),
        _ => text(&["set", name, "=", value]),
    }
}

pub fn set_local(rng: &mut Rng) -> Sql {
    if rng.chance(25) {
        let (name, values) = rng.pick(VALUES);
        return format!("select set_config('{name}', '{}', true)", one(rng, values)).into();
    }
    let (name, values) = rng.pick(SETTINGS);
    text(&["set local", name, "to", one(rng, values)])
}

pub fn set_config(rng: &mut Rng) -> Sql {
    let (name, values) = rng.pick(VALUES);
    let value = rng.pick(values);
    let local = rng.pick(&["true", "false", "false"]);
    let quoted = value.replace('\'', "''");
    match rng.below(10) {
        6 => format!("update pg_settings set setting = '{quoted}' where name = lower('{name}')").into(),
        7 => format!("copy (select set_config('{name}', '{quoted}', {local})) to stdout").into(),
        8 => format!(
            "explain (analyze, costs off, timing off, summary off) select set_config('{name}', '{quoted}', {local})"
        )
        .into(),
        0 | 1 => bound(&format!("select set_config('{name}', $1, {local})"), &[value]),
        2 => format!("select s, pg_catalog.set_config(s, v, {local}) from (values ('{name}', '{quoted}')) as x (s, v)")
            .into(),
        3 => format!("with x as (select set_config('{name}', '{quoted}', {local}) as v) select v from x").into(),
        4 => Sql { text: format!("select set_config('{name}', $1, {local})"), values: vec![None] },
        _ => format!("SELECT set_config('{name}', '{quoted}', {local})").into(),
    }
}

pub fn set_config_of_bound_name(rng: &mut Rng, custom: Option<&str>) -> Sql {
    let (name, values) = rng.pick(VALUES);
    let (value, local) = (one(rng, values), one(rng, &["true", "false", "false"]));
    bound("select set_config($1, $2, $3)", &[custom.unwrap_or(name), value, local])
}

pub fn set_custom(rng: &mut Rng, how: &str) -> Sql {
    let name = rng.pick(CUSTOM);
    let value = rng.pick(&["'1'", "'2'", "'a ''quoted'' value'", "default"]);
    let plain = name.trim_matches('"');
    let local = how == "local";
    match rng.below(7) {
        0 if !local => text(&["reset", name]),
        1 | 2 => bound(&format!("select set_config('{plain}', $1, {local})"), &["1"]),
        3 => format!("select set_config('{plain}', '1', {local})").into(),
        _ => text(&["set", how, name, "=", value]),
    }
}

pub fn roles(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "set role differ_a",
            "set role differ_b",
            "set role none",
            "reset role",
            "set local role differ_a",
            "set session authorization differ_b",
            "set session authorization default",
            "reset session authorization",
            "set role differ_missing",
            "set role postgres",
            "select t from secret",
        ],
    )
    .into()
}

pub fn characteristics(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "set session characteristics as transaction isolation level repeatable read",
            "set session characteristics as transaction read only",
            "set session characteristics as transaction read write, isolation level read committed",
            "set default_transaction_isolation = 'serializable'",
            "set default_transaction_read_only to on",
            "reset default_transaction_read_only",
            "insert into drawn (t) values ('y')",
        ],
    )
    .into()
}

pub fn quoting(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "select 'a\\\\b', 'c\\nd'",
            r"select '\' ; set work_mem = '3MB' -- '",
            r"select 'it\'s', 'set application_name = 1' -- '",
            r"select e'\'; set work_mem = 5', U&'d\0061t'",
            "select $x$ '; set work_mem = '11MB' $x$, $$set$$",
            "set application_name = 'back\\slash'",
            "set standard_conforming_strings = off",
            "set standard_conforming_strings = on",
        ],
    )
    .into()
}

pub fn setting_function(rng: &mut Rng) -> Sql {
    let (name, values) = rng.pick(VALUES);
    let value = rng.pick(values);
    let function =
        rng.pick(&["f_set", "f_set", "f_set_local", "f_set_sql", "f_set_then_fail", "f_set_and_catch", "f_outer"]);
    match rng.below(6) {
        0 => bound(&format!("select {function}($1, $2)"), &[name, value]),
        1 => format!("do $$ begin perform set_config('{name}', '{value}', false); end $$").into(),
        2 => format!("do $$ begin set {name} = '{value}'; end $$").into(),
        3 => format!("call p_commits('{name}', '{value}')").into(),
        4 => "select f_own_setting()".into(),
        _ => format!("select {function}('{name}', '{value}')").into(),
    }
}

/// Names that no text tells.
pub fn computed_custom(rng: &mut Rng) -> Sql {
    let value = rng.below(3);
    match rng.below(5) {
        0 => format!("select set_config('app.' || 'x', '{value}', false)").into(),
        1 => format!("select set_config(n, '{value}', false) from named").into(),
        2 => format!("do $$ begin perform set_config('app.' || 'x', '{value}', false); end $$").into(),
        3 => format!("do $$ begin execute 'set app.x = {value}'; end $$").into(),
        _ => format!("select f_set('app.' || 'x', '{value}')").into(),
    }
}

/// Functions that are called though the statement does not name them.
pub fn hidden_function(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "insert into watched (name, value) values ('work_mem', '13MB')",
            "insert into watched (name, value) values ('app.x', 'by a trigger')",
            "insert into with_default (n) values (1)",
            "insert into ruled values (1)",
        ],
    )
    .into()
}

/// The same, further away.
pub fn deeper_function(rng: &mut Rng) -> Sql {
    one(
        rng,
        &[
            "select * from calling",
            "select * from calling_own",
            "select 1 ### 2",
            "select 5::checked",
            "select (row(1)::cast_from::cast_to).n",
            "insert into cast_table values (row(1)::cast_from)",
            "select f_reads()",
            "select f_writes('watched')",
        ],
    )
    .into()
}
