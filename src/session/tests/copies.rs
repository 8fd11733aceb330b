//! COPY in every form.

use super::frames::*;
use super::schedules::same_as_direct;
use super::script::{Say, Script};

fn at_once(frames: &[Vec<u8>]) {
    same_as_direct(&[Script::at_once(frames.to_vec())]);
}

/// At once, with a pause after each frame, and with one pause in each place.
fn all_ways(frames: &[Vec<u8>]) {
    at_once(frames);
    same_as_direct(&[Script::patient(frames.to_vec())]);
    for place in 1..frames.len() {
        let mut script = Script::at_once(frames.to_vec());
        script.says.insert(place, Say::Pause);
        same_as_direct(&[script]);
    }
}

fn extended(text: &str) -> Vec<Vec<u8>> {
    vec![parse("", text), bind("", ""), execute("", 0)]
}

#[test]
fn copy_in_by_query() {
    all_ways(&[query("copy stdin"), copy_data("a"), copy_data("b"), copy_done(), query("select 1")]);
    all_ways(&[query("copy stdin"), copy_data("a"), copy_fail(), query("select 1")]);
    all_ways(&[query("copy stdin"), copy_data("bad"), copy_data("b"), copy_done(), query("select 1")]);
    all_ways(&[query("insert x;copy stdin;insert y"), copy_data("a"), copy_done(), query("select 1")]);
    all_ways(&[query("begin"), query("copy stdin"), copy_data("bad"), copy_done(), query("commit"), query("select 1")]);
}

#[test]
fn several_copies_in_one_query() {
    all_ways(&[
        query("copy stdin;copy stdin;select 1"),
        copy_data("a"),
        copy_done(),
        copy_data("b"),
        copy_done(),
        query("select 1"),
    ]);
    all_ways(&[
        query("copy stdin;copy stdin"),
        copy_data("a"),
        copy_done(),
        copy_data("bad"),
        copy_done(),
        query("select 1"),
    ]);
    all_ways(&[query("copy stdin;copy stdin"), copy_done(), sync(), copy_done(), sync(), query("select 1")]);
    all_ways(&[query("copy stdin;boom;copy stdin"), copy_done(), copy_data("a"), copy_done(), query("select 1")]);
}

#[test]
fn copy_in_by_execute() {
    let tail = [sync(), query("select 1")];
    all_ways(&[extended("copy stdin"), vec![copy_data("a"), copy_done()], tail.to_vec()].concat());
    all_ways(&[extended("copy stdin"), vec![copy_data("a"), copy_fail()], tail.to_vec()].concat());
    all_ways(&[extended("copy stdin"), vec![copy_data("bad"), copy_data("b"), copy_done()], tail.to_vec()].concat());
    all_ways(
        &[extended("copy stdin"), vec![flush(), copy_data("a"), flush(), copy_done(), flush()], tail.to_vec()].concat(),
    );
    all_ways(&[extended("copy stdin"), vec![copy_done()], extended("insert b"), tail.to_vec()].concat());
}

#[test]
fn syncs_during_copy_get_no_reply_unless_it_had_failed_before() {
    let tail = [sync(), query("select 1")];
    all_ways(&[extended("copy stdin"), vec![sync(), copy_data("a"), copy_done()], tail.to_vec()].concat());
    all_ways(&[extended("copy stdin"), vec![sync(), copy_data("a"), sync(), copy_fail()], tail.to_vec()].concat());
    all_ways(&[extended("copy stdin"), vec![sync(), copy_data("bad"), copy_done()], tail.to_vec()].concat());
    all_ways(
        &[extended("copy stdin"), vec![sync(), copy_data("bad"), sync(), copy_data("b"), copy_done()], tail.to_vec()]
            .concat(),
    );
    all_ways(&[extended("copy view stdin"), vec![sync(), copy_data("a"), copy_done()], tail.to_vec()].concat());
    let mut script = Script::at_once([extended("copy view stdin"), tail.to_vec()].concat());
    script.says.insert(4, Say::Pause);
    same_as_direct(&[script]);
    all_ways(&[query("copy stdin"), sync(), copy_data("a"), copy_done(), sync(), query("select 1")]);
    all_ways(&[query("copy stdin"), sync(), copy_data("bad"), copy_done(), sync(), query("select 1")]);
    all_ways(&[query("copy view stdin"), copy_data("a"), copy_done(), sync(), query("select 1")]);
    all_ways(&[query("copy view stdin"), sync(), copy_done(), sync(), query("select 1")]);
}

#[test]
fn a_copy_that_never_starts_lets_its_data_fall() {
    at_once(&[query("boom"), copy_data("a"), copy_done(), query("select 1"), copy_data("stray"), copy_done(), sync()]);
    all_ways(&[extended("boom"), vec![copy_data("a"), copy_done(), sync(), query("select 1")]].concat());
    all_ways(&[extended("boom"), vec![sync(), copy_data("a"), copy_done(), sync(), query("select 1")]].concat());
}

#[test]
fn stray_copy_frames_are_ignored_with_and_without_a_backend() {
    all_ways(&[
        copy_data("a"),
        copy_done(),
        copy_fail(),
        query("select 1"),
        copy_done(),
        query("begin"),
        copy_data("b"),
        copy_fail(),
        query("commit"),
    ]);
    all_ways(&[extended("select 1"), vec![copy_done(), sync(), copy_done(), flush(), copy_data("x"), sync()]].concat());
}

#[test]
fn copy_out() {
    all_ways(
        &[
            vec![query("copy stdout"), query("copy stdout;copy stdout;copy stdin"), copy_done()],
            extended("copy stdout"),
            vec![sync()],
        ]
        .concat(),
    );
}

#[test]
fn copies_of_two_clients_share_one_backend() {
    let one = Script::patient(
        [vec![query("copy stdin"), copy_data("a"), copy_done()], extended("select 1"), vec![sync()]].concat(),
    );
    let two = Script::patient(
        [extended("copy stdin"), vec![sync(), copy_data("bad"), copy_done(), sync(), query("select 1")]].concat(),
    );
    same_as_direct(&[one, two]);
}
