//! The schedules under which scripts are run and compared with what a direct connection gives.

use std::sync::Arc;

use super::deaths::dies_at_every_step;
use super::script::{Script, direct};
use super::world::{Wish, World};
use crate::prepared::Registry;

/// Runs scripts in every way that a few schedules give, over pools of one to three backends, and compares.
pub(super) fn same_as_direct(scripts: &[Script]) {
    let wish = Wish::default();
    same_under(scripts, wish);
    same_under(scripts, Wish { backends: 2, promote: false, held: 2, cut: true, ..wish });
    same_under(scripts, Wish { backends: 3, held: 1, pipeline: 4, ..wish });
    dies_at_every_step(scripts, wish);
    dies_at_every_step(scripts, Wish { held: 2, cut: true, ..wish });
}

pub(super) fn same_under(scripts: &[Script], wish: Wish) {
    let alone: Vec<_> = scripts.iter().map(direct).collect();
    let registry = Arc::new(Registry::new(1000, usize::MAX));
    let run = |choose: &mut dyn FnMut(usize) -> usize| {
        let mut world = World::with_registry(scripts, wish, &registry);
        world.run(choose);
        world.check(&alone);
    };
    // Clients first, replies first, and every point at which the one gives way to the other.
    run(&mut |_| 0);
    run(&mut |len| len - 1);
    let frames: usize = scripts.iter().map(|script| script.says.len()).sum();
    for turn in 1..(frames * 4).min(40) {
        let mut steps = 0;
        run(&mut |len| {
            steps += 1;
            if steps <= turn { 0 } else { len - 1 }
        });
        let mut steps = 0;
        run(&mut |len| {
            steps += 1;
            if steps % (turn + 1) == 0 { len - 1 } else { steps % len.max(1) }
        });
    }
}
