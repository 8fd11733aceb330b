//! Queries, pipelines, transactions, portals.

use super::frames::*;
use super::schedules::same_as_direct;
use super::script::Script;

/// The frames said at once, and with a pause after each.
fn both_ways(frames: &[Vec<u8>]) {
    same_as_direct(&[Script::at_once(frames.to_vec())]);
    same_as_direct(&[Script::patient(frames.to_vec())]);
}

/// One statement by the extended protocol, without its Sync.
fn run(text: &str) -> [Vec<u8>; 4] {
    [parse("", text), bind("", ""), describe('P', ""), execute("", 0)]
}

#[test]
fn simple_queries() {
    both_ways(&[query("select 2"), query("select 1;insert a;notice"), query(""), query(" "), query("syntax")]);
    both_ways(&[query("select 1;boom;select 1"), query("insert a;late"), query("select 1")]);
}

#[test]
fn transactions() {
    both_ways(&[
        query("begin"),
        query("insert a"),
        query("commit"),
        query("insert b;begin;insert c"),
        query("rollback"),
    ]);
    both_ways(&[query("begin"), query("boom"), query("select 1"), query("commit"), query("commit"), query("select 1")]);
    both_ways(&[query("begin;late"), query("commit"), query("begin"), query("begin"), query("rollback")]);
}

#[test]
fn one_statement_in_every_mix_of_messages() {
    let (p, b, s) = (parse("", "select 2"), bind("", ""), sync());
    let (ds, dp, e) = (describe('S', ""), describe('P', ""), execute("", 0));
    let mixes: [&[&Vec<u8>]; 10] = [
        &[&p, &s],
        &[&p, &ds, &s, &b, &e, &s],
        &[&p, &b, &dp, &e, &s],
        &[&p, &ds, &b, &dp, &e, &s],
        &[&p, &b, &e, &b, &e, &s],
        &[&p, &b, &e, &e, &s],
        &[&p, &p, &b, &e, &s],
        &[&s, &s, &p, &s, &s, &b, &dp, &s],
        &[&ds, &s, &b, &s, &e, &s, &dp, &s],
        &[&b, &p, &e, &s, &p, &b, &s, &e, &s],
    ];
    for mix in mixes {
        let mix: Vec<_> = mix.iter().map(|frame| (*frame).clone()).collect();
        both_ways(&[mix.clone(), mix.clone(), mix.clone(), mix].concat());
    }
}

#[test]
fn pipelines_with_an_error_in_each_place() {
    for place in 0..6 {
        for bad in ["syntax", "boom", "late"] {
            let mut frames = Vec::new();
            for statement in 0..6 {
                let text = if statement == place { bad.to_owned() } else { format!("insert {statement}") };
                frames.extend(run(&text));
                if statement % 2 == 1 {
                    frames.push(sync());
                }
            }
            both_ways(&frames);
        }
    }
}

#[test]
fn a_query_or_function_call_after_an_extended_error_is_not_answered() {
    both_ways(&[run("boom").to_vec(), vec![query("select 1"), function_call("f"), sync(), query("select 2")]].concat());
    both_ways(&[run("syntax").to_vec(), vec![query("begin"), query("insert a"), sync(), query("select 2")]].concat());
}

#[test]
fn a_query_ends_a_batch_without_sync() {
    both_ways(&[run("insert a").to_vec(), vec![query("select 1"), query("select 2"), sync(), sync()]].concat());
    both_ways(&[run("insert a").to_vec(), vec![query("boom"), bind("", ""), sync()]].concat());
}

#[test]
fn flush_brings_the_replies_and_holds_the_backend() {
    let frames = [
        vec![parse("s", "select 1"), describe('S', "s"), flush(), bind("", "s"), execute("", 0), flush(), sync()],
        vec![flush(), query("select 1"), flush(), close('S', "s"), flush(), sync(), flush()],
        vec![parse("", "insert a"), bind("", ""), execute("", 0), flush(), query("boom"), query("select 1")],
    ];
    both_ways(&frames.concat());
}

#[test]
fn flush_batches_of_two_clients_share_one_backend() {
    let one = Script::patient(
        [run("insert a").to_vec(), vec![flush()], run("boom").to_vec(), vec![flush(), sync()]].concat(),
    );
    let two = Script::patient(
        [run("insert b").to_vec(), vec![flush(), sync()], run("insert c").to_vec(), vec![sync()]].concat(),
    );
    same_as_direct(&[one, two]);
}

#[test]
fn portals_with_row_limits() {
    both_ways(&[
        query("begin"),
        parse("", "select 5"),
        bind("p", ""),
        execute("p", 2),
        sync(),
        execute("p", 2),
        flush(),
        execute("p", 2),
        execute("p", 2),
        sync(),
        close('P', "p"),
        execute("p", 0),
        sync(),
        query("commit"),
        parse("", "select 3"),
        bind("", ""),
        execute("", 1),
        execute("", 1),
        sync(),
        execute("", 1),
        sync(),
    ]);
}

#[test]
fn function_calls() {
    both_ways(&[
        function_call("f"),
        function_call("boom"),
        query("begin"),
        function_call("boom"),
        function_call("f"),
        query("commit"),
    ]);
}

#[test]
fn more_replies_than_a_client_may_be_owed() {
    let batch: Vec<_> = (0..9).flat_map(|n| run(&format!("insert {n}"))).chain([sync()]).collect();
    both_ways(&batch);
    both_ways(&[close('S', "a"), close('S', "b"), close('S', "c"), close('S', "d"), close('S', "e"), sync()]);
}

#[test]
fn a_faked_close_never_stands_between_rows() {
    both_ways(&[
        query("begin"),
        parse("", "select 3"),
        bind("p", ""),
        sync(),
        close('S', "x"),
        execute("p", 0),
        close('S', "y"),
        sync(),
        bind("q", ""),
        close('S', "x"),
        execute("q", 0),
        sync(),
        query("commit"),
    ]);
}

#[test]
fn clients_interleave_over_few_backends() {
    let one =
        Script::at_once([query("begin"), query("insert a"), query("boom"), query("commit"), query("select 1")].into());
    let two =
        Script::at_once([run("select 3").to_vec(), vec![sync()], run("boom").to_vec(), vec![sync(), sync()]].concat());
    let three = Script::patient([parse("", "select 1"), sync(), bind("", ""), execute("", 0), sync()].into());
    same_as_direct(&[one, two, three]);
}
