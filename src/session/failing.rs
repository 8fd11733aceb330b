//! Errors that pgweir raises in the client's batch.

use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::turn::{Expect, Kind, Who};
use super::{Outgoing, Session};
use crate::prepared::{Allowance, Exceeded, NEVER, Statement};
use crate::wire::build::{self, Fault};
use crate::wire::sqlstate;

impl Session {
    /// Raises an error of ours where the backend must fail too, so that a transaction cannot commit past it.
    pub(super) fn fail_there(&mut self, fault: &Fault, out: &mut Outgoing) {
        self.fail_there_with(fault.to_frame().into(), out);
    }

    /// The same for a statement that is known, and counted.
    pub(super) fn fail_there_for(&mut self, error: Box<[u8]>, statement: &Statement, now: Instant, out: &mut Outgoing) {
        self.fail_there_with(error, out);
        let measure = self.measure_parse(statement, now);
        if let Some(expect) = self.turn.as_mut().and_then(|turn| turn.queue.back_mut()) {
            expect.measure = measure.map(Box::new);
        }
    }

    pub(super) fn fail_there_with(&mut self, error: Box<[u8]>, out: &mut Outgoing) {
        build::write_describe_statement(&mut out.to_backend, NEVER);
        let turn = self.turn.get_or_insert_default();
        turn.expect(Expect::new(Kind::Describe, Who::Substitute(error)), []);
        turn.open_batch();
    }

    /// There is no room for one more name.
    pub(super) fn exceeded(&self, exceeded: Exceeded) -> Fault {
        let (met, Allowance { statements, memory }) = (&self.rules.met, self.rules.allowance);
        let (counter, message, key) = match exceeded {
            Exceeded::Statements => (
                &met.client_statements,
                format!("a client may have at most {statements} prepared statements"),
                "client_statements",
            ),
            Exceeded::Memory => (
                &met.client_statement_memory,
                format!("the prepared statements of a client may have at most {memory} bytes"),
                "client_statement_memory",
            ),
        };
        counter.fetch_add(1, Ordering::Relaxed);
        Fault::error(sqlstate::PROGRAM_LIMIT_EXCEEDED, message).hint(format!(
            "Close statements that are not used any more, or raise limits.{key} in pgweir's configuration."
        ))
    }
}
