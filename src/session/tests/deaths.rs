//! A backend that dies at every step of a conversation: one error for the client, no trace in the session.

use super::frames::*;
use super::script::{Script, direct};
use super::world::{Wish, World, show};
use crate::wire::view::Transaction;

fn conversations() -> Vec<Vec<Vec<u8>>> {
    let run = |text: &str| vec![parse("", text), describe('S', ""), bind("", ""), execute("", 0)];
    vec![
        vec![query("select 1"), query("begin"), query("insert a"), query("commit")],
        [run("select 2"), vec![flush()], run("insert a"), vec![sync(), close('S', "x"), sync()]].concat(),
        [
            vec![parse("s", "select 1"), sync()],
            run("boom"),
            vec![parse("s", "select 1"), sync(), bind("", "s"), sync()],
        ]
        .concat(),
        vec![
            query("copy in"),
            copy_data("a"),
            copy_done(),
            query("copy in"),
            copy_data("bad"),
            copy_done(),
            query("select 1"),
        ],
        [run("copy in"), vec![sync(), copy_data("a"), copy_done(), sync()]].concat(),
    ]
}

#[test]
fn a_backend_that_dies_leaves_one_error_and_a_clean_session() {
    for frames in conversations() {
        for last_words in [false, true] {
            let script = Script::patient(frames.clone()).startup(vec![("TimeZone", "CET")]);
            let alone = direct(&script);
            for step in 0.. {
                let mut world = World::new(std::slice::from_ref(&script), Wish::default());
                if !world.run_for(step) {
                    break;
                }
                let Some(seat) = world.clients[0].seat else { continue };
                let before = world.clients[0].read.len();
                if last_words {
                    world.seats[seat].model.die();
                    while !world.seats[seat].model.output.is_empty() {
                        world.judge_reply(seat, 0).expect("last words are understood");
                    }
                }
                let said = show(&world.clients[0].read[before..]);
                let fault = world.clients[0].session.backend_lost();
                assert_eq!(fault.is_none(), last_words, "told {said}");
                assert_eq!(said.matches("E57P01").count(), usize::from(last_words));
                let session = &world.clients[0].session;
                assert!(session.is_between_transactions() && session.is_answered());
                assert_eq!(session.transaction(), Transaction::Idle);
                assert!(alone.read.starts_with(&world.clients[0].read[..before]), "a prefix until then");
            }
        }
    }
}
