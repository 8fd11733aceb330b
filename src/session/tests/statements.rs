//! Prepared statements: names, what backends hold, errors of ours.

use super::frames::*;
use super::script::Script;
use super::world::{Wish, same_as_direct, same_under};

fn both_ways(frames: &[Vec<u8>]) {
    same_as_direct(&[Script::at_once(frames.to_vec())]);
    same_as_direct(&[Script::patient(frames.to_vec())]);
}

fn prepared(name: &str, text: &str) -> Vec<Vec<u8>> {
    vec![parse(name, text), describe('S', name), bind("", name), execute("", 0), sync()]
}

fn bound(name: &str) -> Vec<Vec<u8>> {
    vec![bind("", name), execute("", 0), sync()]
}

#[test]
fn the_unnamed_statement_survives_syncs_but_no_query() {
    both_ways(
        &[vec![parse("", "select 1"), sync()], bound(""), bound(""), vec![query("select 2")], bound("")].concat(),
    );
    both_ways(&[vec![parse("", "select 1"), sync(), query("syntax")], bound("")].concat());
    both_ways(&[vec![parse("", "select 1"), parse("", "syntax"), sync()], bound("")].concat());
    both_ways(&[vec![parse("", "select 1"), sync(), close('S', ""), sync()], bound("")].concat());
}

#[test]
fn unnamed_statements_of_several_clients_do_not_mix() {
    let client = |text| Script::patient([vec![parse("", text), sync()], bound(""), bound(""), bound("")].concat());
    same_as_direct(&[client("select 1"), client("select 2"), client("insert a")]);
}

#[test]
fn an_unnamed_statement_that_recurs_is_promoted_unnoticed() {
    let batch = [parse("", "select 1"), describe('S', ""), bind("", ""), execute("", 0), sync()];
    let often: Vec<_> = (0..12).flat_map(|_| batch.clone()).collect();
    both_ways(&[often.clone(), vec![parse("", "select 1"), sync(), parse("", "syntax"), sync()], bound("")].concat());
    same_under(&[Script::at_once(often.clone()), Script::patient(often)], Wish { backends: 2, ..Wish::default() });
}

#[test]
fn named_statements_follow_their_client_from_backend_to_backend() {
    let client = |n: usize| {
        let (other, text) = (format!("insert {n}"), "select 2");
        Script::patient(
            [
                prepared("s", text),
                prepared("t", &other),
                bound("s"),
                bound("t"),
                vec![query("begin")],
                bound("s"),
                bound("t"),
                vec![query("commit")],
                bound("s"),
            ]
            .concat(),
        )
    };
    same_as_direct(&[client(1), client(2), client(3)]);
}

#[test]
fn a_name_can_be_used_again_after_close_or_a_failed_parse() {
    both_ways(
        &[
            prepared("s", "select 1"),
            vec![close('S', "s")],
            prepared("s", "select 2"),
            vec![close('S', "s"), sync()],
            bound("s"),
            prepared("s", "insert a"),
        ]
        .concat(),
    );
    both_ways(&[prepared("s", "syntax"), prepared("s", "select 1"), bound("s")].concat());
    both_ways(
        &[
            vec![parse("s", "select 1"), parse("t", "syntax"), sync()],
            bound("s"),
            bound("t"),
            prepared("t", "select 3"),
        ]
        .concat(),
    );
    both_ways(
        &[vec![parse("u", "syntax"), parse("s", "select 1"), sync()], bound("s"), prepared("s", "select 1")].concat(),
    );
}

#[test]
fn duplicates_and_unknown_names_fail_as_postgres_fails() {
    both_ways(
        &[prepared("s", "select 1"), prepared("s", "select 2"), bound("s"), prepared("s", "syntax"), bound("x")]
            .concat(),
    );
    both_ways(
        &[vec![parse("s", "select 1"), parse("s", "select 1"), sync(), describe('S', "x"), sync()], bound("s")]
            .concat(),
    );
    both_ways(
        &[vec![parse("", "select 1"), parse("s", "select 2"), parse("s", "select 1"), sync()], bound("")].concat(),
    );
}

#[test]
fn errors_of_ours_fail_the_transaction_too() {
    for bad in [prepared("s", "select 2"), bound("x"), vec![describe('S', "x"), sync()]] {
        both_ways(
            &[
                prepared("s", "select 1"),
                vec![query("begin"), query("insert a")],
                bad.clone(),
                vec![query("commit"), query("select 1")],
            ]
            .concat(),
        );
        both_ways(
            &[
                prepared("s", "select 1"),
                vec![query("begin"), query("boom")],
                bad.clone(),
                vec![query("commit")],
                bound("s"),
            ]
            .concat(),
        );
        let batch = vec![parse("", "insert b"), bind("", ""), execute("", 0)];
        both_ways(&[prepared("s", "select 1"), batch, bad, bound("s")].concat());
    }
}

#[test]
fn nothing_is_faked_in_a_failed_transaction() {
    let open = vec![query("begin"), query("boom")];
    let held = prepared("s", "select 1");
    let again = prepared("t", "select 1");
    both_ways(
        &[held.clone(), open.clone(), again.clone(), vec![query("rollback")], again.clone(), bound("t")].concat(),
    );
    let insert = [
        prepared("i", "insert a"),
        open,
        vec![parse("j", "insert a"), describe('S', "j"), sync(), query("rollback")],
        bound("j"),
    ];
    both_ways(&insert.concat());
    let pipelined = [held, vec![query("begin")], prepared("b", "boom"), again, vec![query("rollback")], bound("t")];
    both_ways(&pipelined.concat());
}

#[test]
fn a_parse_is_answered_before_what_follows_it() {
    let shared =
        Script::at_once([prepared("a", "select 2"), vec![parse("b", "select 2"), sync()], bound("b")].concat());
    let describes = [
        parse("c", "select 2"),
        describe('S', "c"),
        parse("d", "select 2"),
        bind("", "d"),
        describe('P', ""),
        execute("", 0),
        sync(),
    ];
    same_as_direct(&[shared.clone(), Script::at_once(describes.to_vec()), Script::patient(describes.to_vec()), shared]);
}

#[test]
fn statements_are_evicted_at_the_backends_limit() {
    let texts = ["select 1", "select 2", "insert a", "insert b"];
    let all: Vec<_> = texts.iter().enumerate().flat_map(|(n, text)| prepared(&format!("s{n}"), text)).collect();
    let again: Vec<_> = (0..8).flat_map(|n| bound(&format!("s{}", n * 3 % 4))).collect();
    both_ways(&[all.clone(), again].concat());
    let one_batch: Vec<_> =
        (0..8).flat_map(|n| [bind("", &format!("s{}", n * 3 % 4)), execute("", 0)]).chain([sync()]).collect();
    both_ways(&[all.clone(), one_batch.clone(), one_batch].concat());
    let parses: Vec<_> = (0..5).map(|n| parse(&format!("p{n}"), &format!("select {n}"))).chain([sync()]).collect();
    both_ways(&[parses, bound("p0"), bound("p3")].concat());
    let failing = vec![parse("x", "select 7"), parse("y", "syntax"), parse("z", "select 8"), sync()];
    both_ways(&[all, failing, bound("x"), bound("z"), bound("s1"), bound("s2")].concat());
}

#[test]
fn a_backend_never_holds_more_than_its_limit() {
    let parses: Vec<_> = (0..9).map(|n| parse(&format!("p{n}"), &format!("select {n}"))).chain([sync()]).collect();
    let script = Script::patient([parses, prepared("x", "insert a"), prepared("y", "insert b")].concat());
    let mut world = super::world::World::new(&[script], Wish { held: 3, ..Wish::default() });
    world.run(|_| 0);
    assert!(world.seats[0].model.named.len() <= 3, "{:?}", world.seats[0].model.named);
}

#[test]
fn deallocate_all_and_discard_all_forget_names_everywhere() {
    for text in ["deallocate all", "discard all"] {
        both_ways(
            &[prepared("s", "select 1"), vec![query(text)], bound("s"), prepared("s", "select 1"), bound("s")].concat(),
        );
        both_ways(&[prepared("s", "select 1"), prepared("", text), prepared("s", "select 1"), bound("s")].concat());
        let deallocate = [
            parse("", text),
            bind("", ""),
            execute("", 0),
            parse("s", "select 1"),
            bind("", "s"),
            execute("", 0),
            sync(),
        ];
        both_ways(&[prepared("s", "select 1"), deallocate.to_vec(), bound("s")].concat());
    }
    let one =
        Script::patient([prepared("s", "select 1"), vec![query("deallocate all")], prepared("s", "select 2")].concat());
    let two = Script::patient([prepared("s", "select 1"), bound("s"), bound("s"), bound("s")].concat());
    same_as_direct(&[one, two]);
}

#[test]
fn a_cached_plan_whose_result_type_changed_fails_as_it_does_without_pgweir() {
    both_ways(
        &[
            prepared("s", "select 1"),
            vec![query("alter")],
            bound("s"),
            bound("s"),
            prepared("t", "select 2"),
            bound("t"),
        ]
        .concat(),
    );
}
