//! Leases that fail, statement mode, cancelling, limits.

use std::sync::Arc;

use super::super::{Hold, Leased, Outgoing, Running, Session, Verdict, Wait};
use super::frames::*;
use super::script::Script;
use super::world::{Step, Wish, World, show};
use crate::wire::build::Fault;
use crate::wire::view::Transaction;
use crate::wire::{Frame, Header};

fn judge(world: &World, session: &mut Session, frame: &[u8]) -> (Verdict, String) {
    let header = Header::read(frame, 1 << 20).expect("a frame").expect("whole");
    let (frame, mut out) = (Frame { tag: header.tag, len: header.body, body: &frame[5..] }, Outgoing::default());
    let verdict = session.from_client(&frame, None, &mut out, world.now).expect("a valid frame");
    assert!(out.to_backend.is_empty(), "there is no backend");
    (verdict, show(&out.before))
}

#[test]
fn a_lease_that_fails_is_answered_once_and_the_rest_of_the_batch_is_skipped() {
    let world = World::new(&[], Wish::default());
    let fault = Fault::error("53300", "no backend");
    let asking =
        [parse("s", "select 1"), bind("", "s"), describe('S', "s"), describe('P', ""), execute("", 0), close('P', "p")];
    for frame in asking {
        let mut session = Session::new(Arc::clone(&world.rules), world.rules.profiles.fresh(), Arc::default());
        assert_eq!(judge(&world, &mut session, &close('S', "x")), (Verdict::Swallow, String::new()));
        assert_eq!(judge(&world, &mut session, &frame).0, Verdict::Hold(Wait::Lease));
        let mut out = Outgoing::default();
        session.lease_failed(frame[0], &fault, &mut out);
        assert_eq!(show(&out.before), "3 E53300 ");
        for skipped in
            [parse("", "select 1"), bind("", ""), execute("", 0), query("select 1"), flush(), function_call("f")]
        {
            assert_eq!(judge(&world, &mut session, &skipped), (Verdict::Swallow, String::new()));
        }
        assert_eq!(judge(&world, &mut session, &sync()), (Verdict::Swallow, "ZI ".to_owned()));
        assert_eq!(judge(&world, &mut session, &query("select 1")).0, Verdict::Hold(Wait::Lease));
    }
    for frame in [query("select 1"), function_call("f")] {
        let mut session = Session::new(Arc::clone(&world.rules), world.rules.profiles.fresh(), Arc::default());
        let mut out = Outgoing::default();
        assert_eq!(judge(&world, &mut session, &frame).0, Verdict::Hold(Wait::Lease));
        session.lease_failed(frame[0], &fault, &mut out);
        assert_eq!(show(&out.before), "E53300 ZI ");
        assert!(session.is_between_transactions() && session.is_answered());
    }
}

#[test]
fn statement_mode_refuses_transaction_blocks_and_lives_on() {
    let script = Script::patient(vec![
        query("begin"),
        query("select 1"),
        parse("", "start transaction"),
        bind("", ""),
        execute("", 0),
        sync(),
        query("select 1"),
    ]);
    let mut world = World::new(&[script], Wish { hold: Hold::Statement, ..Wish::default() });
    world.run(|_| 0);
    assert_eq!(show(&world.clients[0].read), "E0A000 ZI T D.. CSELECT 1. ZI E0A000 ZI T D.. CSELECT 1. ZI ");
}

#[test]
fn a_session_that_holds_its_backend_gives_it_back_at_its_end_only() {
    let mut world = World::new(
        &[Script::patient(vec![query("select 1"), sync()])],
        Wish { hold: Hold::Session, ..Wish::default() },
    );
    world.run(|_| 0);
    let session = &world.clients[0].session;
    assert!(world.clients[0].seat.is_some() && !session.may_release() && session.is_between_transactions());
}

#[test]
fn a_statement_that_is_cancelled_fails_with_the_words_given() {
    let mut world = World::new(&[Script::at_once(vec![query("copy stdin"), copy_fail()])], Wish::default());
    world.step(Step::Client(0));
    world.step(Step::Client(0));
    world.clients[0].session.cancelling(&Fault::error("57014", "query_timeout"));
    world.run(|_| 0);
    let read = &world.clients[0].read;
    assert_eq!(show(read), "G E57014 ZI ");
    assert!(read.windows(13).any(|words| words == b"query_timeout"));
}

#[test]
fn a_client_that_names_too_many_statements_is_told_so() {
    let frames: Vec<_> = (0..52).flat_map(|n| [parse(&format!("s{n}"), "select 1"), sync()]).collect();
    let mut world = World::new(&[Script::patient(frames)], Wish::default());
    world.run(|_| 0);
    assert!(show(&world.clients[0].read).ends_with("1 ZI E54000 ZI E54000 ZI "));
}

#[test]
fn what_needs_no_backend_leases_none() {
    let frames = vec![sync(), flush(), close('S', "s"), sync(), copy_data("a"), copy_done(), copy_fail(), sync()];
    let mut world = World::new(&[Script::at_once(frames)], Wish { backends: 0, ..Wish::default() });
    world.run(|_| 0);
    assert_eq!(show(&world.clients[0].read), "ZI 3 ZI ZI ");
    assert_eq!(world.clients[0].session.transaction(), Transaction::Idle);
}

#[test]
fn a_reply_that_nothing_asked_for_breaks_the_session() {
    let mut world = World::new(&[Script::at_once(vec![query("select 1")])], Wish::default());
    world.step(Step::Client(0));
    world.step(Step::Client(0));
    let (seat, mut out) = (&mut world.seats[0], Outgoing::default());
    let mut leased = Leased { held: &mut seat.held, carried: &mut seat.carried, pinned: false };
    let frame = Frame { tag: b'2', len: 0, body: b"" };
    assert!(world.clients[0].session.from_backend(&frame, &mut leased, &mut out, world.now).is_err());
}

/// What the first client's session asks its backend.
fn look(world: &mut World) -> Option<Vec<u8>> {
    let (now, seat) = (world.now, &mut world.seats[0]);
    let mut leased = Leased { held: &mut seat.held, carried: &mut seat.carried, pinned: false };
    world.clients[0].session.look(&mut leased, now)
}

#[test]
fn what_pgweir_asks_after_a_statement_is_not_taken_for_the_clients() {
    let wish = Wish { hold: Hold::Session, ..Wish::default() };
    let mut world = World::new(&[Script::at_once(vec![query("set TimeZone=PST")])], wish);
    world.step(Step::Client(0));
    world.step(Step::Client(0));
    assert_eq!(world.clients[0].session.running(), Running::Clients);
    world.run(|_| 0);
    assert_eq!(world.clients[0].session.running(), Running::Nothing);
    assert!(look(&mut world).is_some(), "it has set something");
    assert_eq!(world.clients[0].session.running(), Running::Ours);
}

#[test]
fn a_text_that_has_not_been_parsed_when_its_transaction_ends_is_asked_about_by_the_names_in_it() {
    let wish = Wish { hold: Hold::Session, ..Wish::default() };
    let text = "select count(*) from watched_view where n <> 1";
    let mut world = World::new(&[Script::at_once(vec![query("begin"), query(text)])], wish);
    world.run(|_| 0);
    let asked = look(&mut world).expect("nobody knows what its view does");
    let asked = String::from_utf8_lossy(&asked);
    assert!(asked.contains("E'watched_view'") && asked.contains("pg_operator"));
    assert!(asked.contains("set_config('jit', 'off', true)"), "a large catalog is not worth seconds of compiling");
}

#[test]
fn nobody_waits_for_an_answer_about_a_text_that_has_nothing_of_a_users_in_it() {
    let wish = Wish { hold: Hold::Session, ..Wish::default() };
    let mut world = World::new(&[Script::at_once(vec![query("begin"), query("select 1"), query("commit")])], wish);
    world.run(|_| 0);
    assert_eq!(look(&mut world), None);
}

#[test]
fn a_transaction_that_touches_very_many_tables_keeps_no_list_of_them() {
    let inserts =
        |tables: usize| (0..2000).map(move |row| query(&format!("insert into t{} values ({row})", row % tables)));
    for (tables, names_them) in [(3, true), (2000, false)] {
        let wish = Wish { hold: Hold::Session, ..Wish::default() };
        let script = std::iter::once(query("begin")).chain(inserts(tables)).collect();
        let mut world = World::new(&[Script::at_once(script)], wish);
        world.run(|_| 0);
        let asked = look(&mut world).expect("nobody knows what their triggers do");
        let asked = String::from_utf8_lossy(&asked);
        assert_eq!(asked.contains("E't2'"), names_them);
        assert!(asked.len() < 200_000, "{}", asked.len());
    }
}
