use crate::sql::{Lexing, Unnamed, unnamed_settings};

fn all(expected: Unnamed, bodies: &[&str]) {
    for body in bodies {
        assert_eq!(unnamed_settings(body.as_bytes(), &Lexing::default()), expected, "{body}");
    }
}

#[test]
fn code_that_names_what_it_sets_hides_nothing() {
    all(
        Unnamed::No,
        &[
            "begin perform set_config('app.x', v, false); set app.y = 1; end",
            "begin perform pg_catalog.set_config('app.x'::text, v, false); end",
            "begin perform set_config('app.' || x, v, true); end",
            "begin execute 'set app.x = 1'; end",
            "begin execute 'set app.x = ' || quote_literal(v); end",
            "begin execute format('set session app.x to %L', v); end",
            "begin execute 'set local app.' || x || ' = 1'; end",
            "begin execute format('SET LOCAL %I = %L', n, v); end",
            "begin execute 'select set_config(''app.x'', ' || quote_literal(v) || ', false)'; end",
            "begin execute 'do $x$ begin set app.x = 1; end $x$'; end",
            "grant execute on function f() to r",
            "select query_to_xml('select set_config(''app.x'', ''1'', false)'::text, false, false, '')",
            "select table_to_xml(t, false, false, ''), ts_rewrite(a, 'select b, c from d')",
            "create trigger t before insert on t for each row execute function f()",
        ],
    );
}

#[test]
fn common_statements_that_are_put_together_hide_nothing() {
    all(
        Unnamed::No,
        &[
            "begin execute 'insert into ' || t || ' select ($1).*' using new; end",
            "begin execute format('update %I set %I = $1', t, c) using v; end",
            "begin execute 'update ' || t || ' set ' || c || ' = 1'; end",
            "begin execute concat('UPDATE ', t, ' set ', c, ' = 1'); end",
            "begin execute (format('create table %I ()', t)); end",
        ],
    );
}

#[test]
fn what_comes_from_elsewhere_may_set_anything() {
    all(
        Unnamed::Maybe,
        &[
            "begin execute $1; end",
            "begin execute sql into n using v; end",
            "begin for r in execute query loop end loop; end",
            "begin execute 'select ' || f || '()'; end",
            "begin return set_config($1, $2, false); end",
            "begin perform set_config(key, value, is_local); end",
            "begin return query_to_xml(x, false, false, ''); end",
            "select ts_rewrite(a, b)",
            "begin perform set_config(new.name, new.value, false); return new; end",
        ],
    );
}

#[test]
fn names_that_are_put_together_are_likely_set() {
    all(
        Unnamed::Likely,
        &[
            "begin perform set_config('app.' || x, v, false); end",
            "begin name := 'app.' || x; perform set_config(name, v, false); end",
            "begin execute 'set app.' || x || ' = 1'; end",
            "begin perform pg_catalog.\"set_config\"('app.' || x, v, false); end",
            "begin perform U&\"!0073et_config\" uescape '!' ('app.' || x, v, false); end",
            "select query_to_xml('select set_config(''app.' || x || ''', 1, false)', false, false, '')",
            "select query_to_xml('select set_config(''app.'' || x, 1, false)'::text, false, false, '')",
            "begin execute 'SET ' || x || ' = 1'; end",
            "begin execute format('set %I.%I = %L', a, b, c); end",
            "begin text := 'set app.' || x; execute text; end",
            "begin execute 'select set_config(' || quote_literal(x) || ', $1, false)' using v; end",
            "begin execute 'do $x$ begin perform set_config(''a.'' || b, c, false); end $x$'; end",
            "begin execute 'analyze; set ' || x; end",
        ],
    );
}

#[test]
fn code_within_code_within_code_comes_to_an_end() {
    let body = (0..2000).fold(String::from("select 1"), |body, at| format!("execute $a{at}${body}$a{at}$"));
    all(Unnamed::Likely, &[&body]);
}
