//! Prepared statements: names, what backends hold, errors of ours.

use super::frames::*;
use super::schedules::{same_as_direct, same_under};
use super::script::Script;
use super::world::{Wish, World};

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
    let mut world = World::new(&[script], Wish { held: 3, ..Wish::default() });
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
fn names_that_begin_alike_are_one() {
    let (one, two) = ("n".repeat(63) + "one", "n".repeat(63) + "two");
    both_ways(
        &[
            prepared(&one, "select 1"),
            prepared(&two, "select 2"),
            bound(&two),
            vec![close('S', &two), sync()],
            bound(&one),
            prepared(&two, "select 2"),
            vec![parse(&("n".repeat(63)), "select 2"), sync()],
            bound(&one),
        ]
        .concat(),
    );
}

#[test]
fn a_malformed_body_is_refused_by_postgres_itself() {
    for bad in
        [raw(b'P', b"ab"), raw(b'P', b"s\0select 1\0\0\x01"), raw(b'B', b"ab"), raw(b'D', b"Xs\0"), raw(b'C', b"S")]
    {
        both_ways(
            &[
                prepared("s", "select 1"),
                vec![bad.clone(), bind("", "s"), sync(), parse("t", "select 1"), bad.clone(), sync()],
                bound("t"),
                vec![query("begin"), query("insert a"), bad, sync(), query("commit")],
                bound("s"),
            ]
            .concat(),
        );
    }
}

#[test]
fn errors_quote_statements_by_the_names_that_clients_gave_them() {
    both_ways(&[prepared("mine", "select needy"), prepared("", "select needy"), bound("mine")].concat());
    let promoted: Vec<_> = (0..14).flat_map(|_| prepared("", "select needy")).collect();
    both_ways(&promoted);
}

#[test]
fn a_statement_whose_result_has_changed_fails_until_it_is_prepared_anew() {
    let prepare = |name| vec![parse(name, "select 1"), sync()];
    let again = [prepare("t"), bound("t"), bound("s"), vec![close('S', "t"), sync()]].concat();
    let refused = vec![bind("", "s"), sync(), describe('S', "s"), sync(), query("select 1")];
    both_ways(&[prepared("s", "select 1"), vec![query("redefine")], refused, again.clone(), again].concat());
    let in_blocks = [
        prepared("s", "select 1"),
        vec![query("redefine"), query("begin"), query("insert a")],
        bound("s"),
        bound("s"),
        vec![query("rollback")],
        prepare("t"),
        vec![query("begin"), query("insert b")],
        bound("t"),
        bound("s"),
        bound("s"),
        bound("t"),
        vec![query("commit")],
    ];
    // Without the first failure nobody could know that what `t` shares is older than `t`.
    both_ways(&in_blocks.concat());
}

/// Two clients and one backend, where the first has prepared a statement and its columns have changed since then.
fn changed() -> World {
    let mut world = World::new(&[Script::default(), Script::default()], Wish { promote: false, ..Wish::default() });
    world.say(0, prepared("s", "select 1"));
    world.say(1, vec![query("redefine")]);
    world
}

const PREPARED: &str = "1 t T 2 D\0\0 CSELECT 1. ZI ";
const BOUND: &str = "2 D\0\0 CSELECT 1. ZI ";
const REFUSED: &str = "E0A000 ZI ";

#[test]
fn who_prepares_after_a_change_does_not_notice_that_others_prepared_before_it() {
    let dotted = |text: &str| text.replace('\0', ".");
    for frames in [prepared("t", "select 1"), prepared("", "select 1")] {
        let mut world = changed();
        assert_eq!(world.say(1, frames), dotted(PREPARED));
        super::world::check_held(&world.seats[0]);
        assert_eq!(world.say(0, bound("s")), REFUSED, "the first has not prepared it again");
        assert_eq!(world.say(0, prepared("u", "select 1")), dotted(PREPARED));
        assert_eq!(world.say(0, bound("u")), dotted(BOUND));
    }
    let mut world = changed();
    let batch =
        [parse("t", "select 1"), bind("", "t"), execute("", 0), parse("", "insert a"), bind("", ""), execute("", 0)];
    let said = world.say(1, [batch.to_vec(), vec![close('S', "t"), sync()]].concat());
    assert_eq!(said, dotted("1 2 D\0\0 CSELECT 1. 1 2 CINSERT 0 1. 3 ZI "));
    assert_eq!(world.seats[0].model.committed, ["insert a"]);
    assert_eq!(world.say(1, bound("t")), "E26000 ZI ");
}

#[test]
fn batches_that_are_flushed_are_repeated_too() {
    let dotted = |text: &str| text.replace('\0', ".");
    let executed = vec![parse("t", "select 1"), bind("", "t"), execute("", 0), flush()];
    let described = vec![parse("t", "select 1"), describe('S', "t"), flush()];
    for (frames, expected) in [(executed, "1 2 D.. CSELECT 1. "), (described, "1 t T ")] {
        for patient in [false, true] {
            let mut world = changed();
            let said: String = if patient {
                frames.iter().map(|frame| world.say(1, vec![frame.clone()])).collect()
            } else {
                world.say(1, frames.clone())
            };
            assert_eq!(said, expected);
            assert_eq!(world.say(1, bound("t")), dotted(BOUND));
            super::world::check_held(&world.seats[0]);
            let mut world = changed();
            let said = world.say(1, [frames.clone(), bound("t")].concat());
            assert_eq!(said, format!("{expected}{}", dotted(BOUND)));
        }
    }
}

#[test]
fn a_batch_that_cannot_be_repeated_fails_once() {
    let dotted = |text: &str| text.replace('\0', ".");
    let after_another = vec![
        parse("", "insert into a values (1)"),
        bind("", ""),
        execute("", 0),
        parse("t", "select 1"),
        bind("", "t"),
        sync(),
    ];
    let two = vec![parse("t", "select 1"), sync(), bind("", "t"), sync(), sync()];
    for frames in [after_another, two] {
        let mut world = changed();
        let said = world.say(1, frames);
        assert!(said.contains("E0A000 ZI "), "{said}");
        assert_eq!(world.say(1, bound("t")), dotted(BOUND));
    }
    let mut world = changed();
    world.say(1, vec![parse("t", "select 1"), sync(), query("begin")]);
    assert_eq!(world.say(1, vec![bind("", "t"), sync(), query("rollback")]), "E0A000 ZE CROLLBACK. ZI ");
    assert_eq!(world.say(1, bound("t")), dotted(BOUND));
}

/// Three clients and two backends; the first has prepared a statement on the first backend and was told its columns,
/// which have changed since then.
fn changed_elsewhere() -> World {
    let wish = Wish { promote: false, backends: 2, ..Wish::default() };
    let mut world = World::new(&[Script::default(), Script::default(), Script::default()], wish);
    world.say(0, prepared("s", "select 1"));
    world.say(1, vec![query("redefine")]);
    world
}

/// Has the third client keep a backend while `client` speaks.
fn beside(world: &mut World, backend: usize, client: usize, frames: Vec<Vec<u8>>) -> String {
    let others: Vec<_> = world.seats.iter().map(|seat| seat.user).collect();
    assert_eq!(others, [None, None]);
    if backend == 0 {
        world.say(2, vec![query("begin")]);
    } else {
        world.seats[0].user = Some(usize::MAX);
        world.say(2, vec![query("begin")]);
        world.seats[0].user = None;
    }
    let said = world.say(client, frames);
    world.say(2, vec![query("rollback")]);
    said
}

#[test]
fn who_was_told_other_columns_is_refused_by_backends_that_never_held_the_statement() {
    let dotted = |text: &str| text.replace('\0', ".");
    let mut world = changed_elsewhere();
    assert_eq!(beside(&mut world, 0, 0, bound("s")), REFUSED);
    assert_eq!(beside(&mut world, 0, 0, bound("s")), REFUSED, "until it prepares it again");
    assert_eq!(beside(&mut world, 0, 0, prepared("t", "select 1")), dotted(PREPARED));
    assert_eq!(beside(&mut world, 0, 0, bound("t")), dotted(BOUND));
    assert_eq!(beside(&mut world, 1, 0, bound("t")), dotted(BOUND), "where an old copy is");
    assert_eq!(beside(&mut world, 1, 0, bound("s")), REFUSED);
    world.seats.iter().for_each(super::world::check_held);

    let mut world = changed_elsewhere();
    let pipelined = [bound("s"), bound("s"), vec![parse("t", "select 1")], bound("s"), bound("t")].concat();
    let said = beside(&mut world, 0, 0, pipelined);
    assert_eq!(said, format!("{REFUSED}{REFUSED}1 {REFUSED}{}", dotted(BOUND)));

    let mut world = changed_elsewhere();
    world.say(0, prepared("r", "select 2"));
    world.say(0, prepared("q", "select 3"));
    world.say(1, vec![query("redefine")]);
    assert_eq!(beside(&mut world, 0, 0, bound("s")), REFUSED);
    let pipelined = [bound("s"), bound("r"), bound("q")].concat();
    assert_eq!(beside(&mut world, 0, 0, pipelined), format!("{REFUSED}{REFUSED}{REFUSED}"));

    let mut world = changed_elsewhere();
    let in_block = [vec![query("begin")], bound("s"), vec![query("commit")]].concat();
    assert_eq!(beside(&mut world, 0, 0, in_block), "CBEGIN. ZT E0A000 ZE CROLLBACK. ZI ");
}

#[test]
fn who_was_told_other_columns_is_refused_where_another_has_parsed_the_statement_anew() {
    let dotted = |text: &str| text.replace('\0', ".");
    let undescribed = vec![parse("t", "select 1"), bind("", "t"), execute("", 0), sync()];
    let by_portal = vec![parse("t", "select 1"), bind("", "t"), describe('P', ""), execute("", 0), sync()];
    for frames in [undescribed, by_portal] {
        let mut world = changed_elsewhere();
        beside(&mut world, 0, 1, frames);
        assert_eq!(beside(&mut world, 0, 0, bound("s")), REFUSED);
        assert_eq!(beside(&mut world, 0, 1, bound("t")), dotted(BOUND));
    }
}

#[test]
fn columns_told_with_a_portal_count_as_well() {
    let mut world = changed_elsewhere();
    let by_portal = [parse("p", "select 2"), bind("", "p"), describe('P', ""), execute("", 0), sync()];
    assert_eq!(beside(&mut world, 1, 1, by_portal.to_vec()), "1 2 T D.. D.. CSELECT 2. ZI ");
    world.say(1, vec![query("redefine")]);
    assert_eq!(beside(&mut world, 0, 1, bound("p")), REFUSED);
}

#[test]
fn a_backend_is_asked_for_columns_once() {
    let wish = Wish { promote: false, backends: 2, ..Wish::default() };
    let mut world = World::new(&[Script::default(), Script::default(), Script::default()], wish);
    world.say(0, prepared("s", "select 1"));
    assert_eq!(beside(&mut world, 0, 0, bound("s")), BOUND.replace('\0', "."));
    let before = world.seats[1].model.taken;
    assert_eq!(beside(&mut world, 0, 0, bound("s")), BOUND.replace('\0', "."));
    assert_eq!(world.seats[1].model.taken - before, 3, "Bind, Execute and Sync");
}
