//! What the console reads of statements.

use std::time::Duration;

use crate::admin::Measured;
use crate::insight::view::{Repetition, Slow, Summary};

/// Nothing was measured.
#[derive(Debug)]
pub(super) struct Nothing;

impl Measured for Nothing {
    fn summary(&self, _: Option<Duration>) -> Summary {
        Summary::default()
    }

    fn slow(&self) -> Vec<Slow> {
        Vec::new()
    }

    fn repetitions(&self) -> Vec<Repetition> {
        Vec::new()
    }
}
