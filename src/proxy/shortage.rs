//! What a client is told when there is too little of something: backends, pins, or the one backend it needs.

use std::time::Duration;

use super::pinning::reasons;
use crate::backend::Refusal;
use crate::pool::{Exhausted, PinFault, PinsExhausted, Shortage};
use crate::session::Keeps;
use crate::wire::build::Fault;
use crate::wire::sqlstate;

/// What a client is told whose wait, for a backend that it `keeps` because of this, was given up after `waited`.
#[must_use]
pub fn shortage_fault(
    database: &str,
    user: &str,
    keeps: Keeps,
    shortage: &Shortage<Refusal>,
    waited: Duration,
) -> Fault {
    match shortage {
        Shortage::Backends(pool) => lease_fault(database, user, pool, waited),
        Shortage::Pins(pins) => pins_in_vain(database, user, keeps, pins, waited),
        Shortage::One { holder, .. } => {
            let who = match holder {
                0 => "another session".to_owned(),
                pid => format!("the client with process id {pid}"),
            };
            Fault::error(
                sqlstate::TOO_MANY_CONNECTIONS,
                format!("the backend that this statement needs did not become free within {waited:?}"),
            )
            .detail(format!("What the session left there is nowhere else, and {who} holds it."))
            .hint("Shorten transactions, or set sequences = \"pin\" in pgweir's configuration.")
        }
    }
}

/// What a client is told whose statement, or whose backend, got no pin within `waited`.
#[must_use]
pub(super) fn pins_in_vain(database: &str, user: &str, keeps: Keeps, pins: &PinsExhausted, waited: Duration) -> Fault {
    let message =
        format!("no further session of pool \"{database}\"/\"{user}\" could keep its backend within {waited:?}");
    pins_fault(message, keeps, pins)
}

/// What a client is told whose lease did not come in time.
fn lease_fault(database: &str, user: &str, pool: &Exhausted<Refusal>, waited: Duration) -> Fault {
    let fault = Fault::error(
        sqlstate::TOO_MANY_CONNECTIONS,
        format!("no backend of pool \"{database}\"/\"{user}\" became free within {waited:?}"),
    );
    if let Some(error) = &pool.last_connect_error {
        let has = match pool.leased {
            0 => "no connection".to_owned(),
            leased => format!("no more than the {leased} connections that are in use"),
        };
        return fault.detail(format!("pgweir has {has} to PostgreSQL: {error}")).hint(
            "Look at the PostgreSQL server, and at [server] in pgweir's configuration. pgweir tries again as long as \
             somebody waits.",
        );
    }
    if let Some(limit) = pool.server_limit {
        return fault
            .detail(format!(
                "The pool has {} of its size {} and max_overflow {}; all pools together have the {limit} connections to \
                 the server that server.max_connections allows. Clients waiting here: {}.",
                pool.leased, pool.size, pool.overflow, pool.waiting
            ))
            .hint("Raise server.max_connections in pgweir's configuration, or give pools of this server less.");
    }
    let holder = pool.longest_holder.map_or_else(String::new, |(pid, held)| {
        format!(" The client with process id {pid} has held its backend for {held:.1?}.")
    });
    let pinned = match pool.pinned {
        0 => String::new(),
        pinned => format!(" ({pinned} pinned: {})", pool.pins),
    };
    let (opening, hint) = match pool.connecting {
        0 => (String::new(), None),
        connecting => (
            format!(", connections that PostgreSQL has not let in yet: {connecting}"),
            Some("Look at the PostgreSQL server, and at server.connect_timeout in pgweir's configuration."),
        ),
    };
    fault
        .detail(format!(
            "The pool has size {} and max_overflow {}; backends leased: {}{pinned}{opening}, clients waiting: {}.{holder}",
            pool.size, pool.overflow, pool.leased, pool.waiting
        ))
        .hint(hint.unwrap_or(
            "Shorten transactions, or raise size, max_overflow or timeout in pgweir's configuration, where they are set \
             for this database or user, else in [pool].",
        ))
}

/// What a client is told that may not keep its backend.
#[must_use]
pub(super) fn pin_fault(database: &str, user: &str, keeps: Keeps, refused: &PinFault) -> Fault {
    let pool = format!("pool \"{database}\"/\"{user}\"");
    match refused {
        PinFault::Denied => {
            Fault::error(sqlstate::FEATURE_NOT_SUPPORTED, format!("no session of {pool} may keep its backend"))
                .detail(format!("{} pool.pin is \"deny\".", what_stays(keeps)))
                .hint("Do without, or use mode = \"session\" or pin = \"allow\" for this user or database in pgweir's configuration.")
        }
        PinFault::Exhausted(pins) => pins_fault(format!("no further session of {pool} may keep its backend"), keeps, pins),
    }
}

fn what_stays(keeps: Keeps) -> String {
    let named = if keeps.is_empty() { String::new() } else { format!(" ({})", reasons(keeps)) };
    format!("The statement leaves something on its backend that cannot be carried to another{named}.")
}

fn pins_fault(message: String, keeps: Keeps, pins: &PinsExhausted) -> Fault {
    Fault::error(sqlstate::TOO_MANY_CONNECTIONS, message)
        .detail(format!("{} {pins}", what_stays(keeps)))
        .hint("Raise pool.size or pool.max_pinned, or use mode = \"session\" for such users.")
}

/// What a client is told whose one backend was closed.
#[must_use]
pub(super) fn backend_gone() -> Fault {
    Fault::error(sqlstate::OBJECT_NOT_IN_PREREQUISITE_STATE, "the backend that this statement needs was closed")
        .detail("What the session had left there is lost.")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::{PinCounts, PinReason};

    #[test]
    fn who_may_not_keep_a_backend_reads_why_and_what_to_change() {
        let pins = PinsExhausted { limit: 2, taken: 2, waiting: 0, counts: PinCounts::default(), longest: None };
        let fault = pin_fault("shop", "app", Keeps::ADVISORY_LOCKS, &PinFault::Exhausted(Box::new(pins)));
        assert_eq!(fault.message, "no further session of pool \"shop\"/\"app\" may keep its backend");
        let frame = String::from_utf8_lossy(&fault.to_frame()).into_owned();
        assert!(frame.contains("53300") && frame.contains("pool.max_pinned allows 2"), "{frame}");
        let denied =
            String::from_utf8_lossy(&pin_fault("shop", "app", Keeps::ADVISORY_LOCKS, &PinFault::Denied).to_frame())
                .into_owned();
        assert!(denied.contains("pin = \"allow\""), "{denied}");
    }

    #[test]
    fn who_waits_in_vain_reads_how_many_backends_are_pinned_and_what_for() {
        let mut pins = PinCounts::default();
        pins.count(PinReason::TemporaryObject.into());
        let (size, overflow, leased, pinned, waiting) = (2, 0, 2, 1, 3);
        let pool = Exhausted {
            size,
            overflow,
            leased,
            pinned,
            pins,
            waiting,
            connecting: 0,
            server_limit: None,
            longest_holder: None,
            last_connect_error: None,
        };
        let fault = lease_fault("shop", "app", &pool, Duration::from_secs(30)).to_frame();
        let told = String::from_utf8_lossy(&fault).into_owned();
        assert!(told.contains("leased: 2 (1 pinned: 1 for temporary objects), clients waiting: 3"), "{told}");
        let told = lease_fault("shop", "app", &Exhausted { pinned: 0, ..pool }, Duration::from_secs(30)).to_frame();
        assert!(String::from_utf8_lossy(&told).contains("leased: 2, clients"));
    }
}
