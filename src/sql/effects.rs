//! What running a text may do to its session.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// A set of effects; each may happen, none must.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Effects(u64);

macro_rules! effects {
    ($($(#[doc = $doc:literal])* $name:ident $bit:literal,)*) => {
        impl Effects {
            $($(#[doc = $doc])* pub const $name: Self = Self(1 << $bit);)*

            /// Every single effect with its name.
            pub const ALL: &[(Self, &str)] = &[$((Self::$name, stringify!($name)),)*];
        }
    };
}

effects! {
    /// Settings are set or reset for longer than the transaction: SET, RESET, set_config, UPDATE pg_settings.
    SETTINGS 0,
    /// The role or the session's user changes: SET ROLE, SET SESSION AUTHORIZATION, their RESET, and set_config where
    /// it may be called for them.
    ROLE 1,
    /// A temporary table, view, sequence, function or type is created.
    TEMPORARY 2,
    /// An advisory lock of the session is taken.
    LOCKS 3,
    /// Advisory locks of the session are given back.
    FREES_LOCKS 4,
    /// DECLARE … WITH HOLD.
    HELD_CURSOR 5,
    /// CLOSE.
    CLOSES_CURSOR 6,
    /// PREPARE.
    PREPARES 7,
    /// EXECUTE, also within EXPLAIN and CREATE TABLE AS.
    EXECUTES 8,
    /// DEALLOCATE.
    DEALLOCATES 9,
    /// LISTEN.
    LISTENS 10,
    /// UNLISTEN.
    UNLISTENS 11,
    /// NOTIFY and pg_notify.
    NOTIFIES 12,
    /// LOAD.
    LOADS 13,
    /// DISCARD.
    DISCARDS 14,
    /// DROP of anything, which may be temporary.
    DROPS 15,
    /// A sequence may be advanced: nextval, setval, and whatever fills columns with their defaults.
    DRAWS 16,
    /// What the session has drawn is asked for: currval, lastval.
    READS_SEQUENCE 17,
    /// Code of a user runs, or may: DO, CALL, a function that is none of PostgreSQL's harmless ones, an extension's
    /// script. What it does must be found out elsewhere.
    CALLS 18,
    /// BEGIN, COMMIT, ROLLBACK, SAVEPOINT and their like.
    TRANSACTION 19,
    /// The session's prepared statements are listed.
    READS_PREPARED 20,
    /// The session's channels are listed.
    READS_CHANNELS 21,
    /// pg_backend_pid().
    READS_PID 22,
    /// Functions that take a process id: pg_cancel_backend, pg_terminate_backend, pg_blocking_pids.
    SIGNALS 23,
    /// State of yet other kinds that lives in the backend: the seed of random(), a base backup that is being taken, a
    /// temporary replication slot, a replication origin, a setting with a name that nobody can know.
    HOLDS 24,
    /// It cannot be told: the text is no SQL that the parser knows, or too long or too deep for it, and it holds words
    /// that may mean something.
    ANYTHING 25,
    /// Code runs that is no function with a name that could be read beforehand: DO, CALL, an extension's script, a text
    /// that an argument holds, what indexes call when VACUUM, ANALYZE, CLUSTER or REINDEX reads their tables.
    RUNS 26,
    /// Settings may go back to their defaults, if only for the transaction: RESET, SET … TO DEFAULT, set_config.
    UNSETS 27,
    /// A setting is set whose name stands elsewhere in the text, in VALUES say.
    SETS_GIVEN 28,
    /// What is held stays in the backend whatever is discarded.
    STAYS 29,
    /// Something is created, altered, dropped, granted, commented on or refreshed, which event triggers may accompany.
    DEFINES 30,
    /// Tables are emptied that are not named: TRUNCATE … CASCADE, and TRUNCATE in a text that is not parsed.
    TRUNCATES 31,
    /// A function is called that cannot be read and is known to leave something. No text says so; whoever knows the
    /// function does.
    STATEFUL 32,
}

impl Effects {
    /// None.
    pub const NONE: Self = Self(0);

    /// Those after which the session may have left something on its backend.
    pub const LEAVES: Self = Self(
        Self::SETTINGS.0
            | Self::ROLE.0
            | Self::TEMPORARY.0
            | Self::LOCKS.0
            | Self::HELD_CURSOR.0
            | Self::PREPARES.0
            | Self::EXECUTES.0
            | Self::LISTENS.0
            | Self::LOADS.0
            | Self::CALLS.0
            | Self::HOLDS.0
            | Self::RUNS.0
            | Self::STATEFUL.0
            | Self::ANYTHING.0,
    );

    /// Those whose traces can be carried to no other backend.
    pub const PINS: Self = Self(
        Self::TEMPORARY.0
            | Self::LOCKS.0
            | Self::HELD_CURSOR.0
            | Self::PREPARES.0
            | Self::LOADS.0
            | Self::HOLDS.0
            | Self::STATEFUL.0,
    );

    /// Those that make a text list something of its session's own.
    pub const LISTS: Self = Self(Self::READS_PREPARED.0 | Self::READS_CHANNELS.0);

    /// Those that make a text tell what its session alone has on its backend.
    pub const TELLS: Self = Self::LISTS.with(Self::READS_SEQUENCE);

    /// Those that may free what [`PINS`](Self::PINS) left.
    pub const FREES: Self =
        Self(Self::FREES_LOCKS.0 | Self::CLOSES_CURSOR.0 | Self::DEALLOCATES.0 | Self::DISCARDS.0 | Self::DROPS.0);

    /// Whether any of `others` is among them.
    #[must_use]
    pub const fn any_of(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of both.
    #[must_use]
    pub const fn with(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    /// Those that are not among `others`.
    #[must_use]
    pub const fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    /// Those that are among `others`, too.
    #[must_use]
    pub const fn among(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    /// As a number, of which [`from_bits`](Self::from_bits) makes the same.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// What [`bits`](Self::bits) gave.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Their names, in capitals.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::ALL.iter().filter(move |(effect, _)| self.any_of(*effect)).map(|(_, name)| *name)
    }
}

impl BitOr for Effects {
    type Output = Self;

    fn bitor(self, others: Self) -> Self {
        self.with(others)
    }
}

impl BitOrAssign for Effects {
    fn bitor_assign(&mut self, others: Self) {
        *self = self.with(others);
    }
}

impl fmt::Display for Effects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return formatter.write_str("none");
        }
        for (place, name) in self.names().enumerate() {
            formatter.write_str(if place == 0 { "" } else { " " })?;
            formatter.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Effects {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Effects({self})")
    }
}
