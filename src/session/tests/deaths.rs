//! A backend that dies at every step of every conversation: one error for the client that had it, no trace in its
//! session, and nothing for the others.

use std::sync::Arc;

use super::script::{Direct, Script, direct};
use super::world::{Wish, World, show};
use crate::prepared::Registry;
use crate::wire::view::Transaction;

/// Steps that are tried in one run of a conversation; a longer one is tried at as many, evenly spread.
const STEPS: usize = 40;

/// Kills the backend of a client after each step of a run, with and without last words.
pub(super) fn dies_at_every_step(scripts: &[Script], wish: Wish) {
    let scripts: Vec<_> = scripts.iter().map(|script| script.clone().startup(vec![("TimeZone", "CET")])).collect();
    let scripts = &scripts;
    let alone: Vec<_> = scripts.iter().map(direct).collect();
    let registry = Arc::new(Registry::new(1000, usize::MAX));
    let mut whole = World::with_registry(scripts, wish, &registry);
    let steps = std::iter::repeat_with(|| whole.run_for(1)).take_while(|taken| *taken).count();
    for step in (0..steps).step_by(steps.div_ceil(STEPS).max(1)) {
        let mut world = World::with_registry(scripts, wish, &registry);
        if !world.run_for(step) {
            // A statement has become a shared one meanwhile.
            break;
        }
        let Some(victim) = world.clients.iter().position(|client| client.seat.is_some()) else { continue };
        dies(&mut world, victim, step % 2 == 0, &alone);
    }
}

fn dies(world: &mut World, victim: usize, last_words: bool, alone: &[Direct]) {
    let seat = world.clients[victim].seat.expect("a backend");
    let before = world.clients[victim].read.len();
    if last_words {
        world.seats[seat].model.die();
        while !world.seats[seat].model.output.is_empty() {
            world.judge_reply(seat, victim).expect("last words are understood");
        }
    }
    let said = show(&world.clients[victim].read[before..]);
    let client = &mut world.clients[victim];
    let fault = client.session.backend_lost();
    assert_eq!(fault.is_none(), last_words, "told {said}");
    assert_eq!(said.matches("E57P01").count(), usize::from(last_words));
    assert!(client.session.is_between_transactions() && client.session.is_answered());
    assert_eq!(client.session.transaction(), Transaction::Idle);
    assert!(
        alone[victim].read.starts_with(&client.read[..before]),
        "{} is no beginning of {}",
        show(&client.read[..before]),
        show(&alone[victim].read)
    );
    world.bury(victim);
    world.run(|_| 0);
    for (client, alone) in world.clients.iter().zip(alone).filter(|(client, _)| !client.closed) {
        assert_eq!(show(&client.read), show(&alone.read), "the death of another's backend was noticed");
    }
}
