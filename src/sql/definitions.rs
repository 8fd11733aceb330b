//! What a statement that defines something makes old of what was known before.

use bitflags::bitflags;

bitflags! {
    /// Kinds of knowledge about a database. Where something is only dropped, what ran with it does not run any more,
    /// and to believe that it does harms nobody.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Definitions: u16 {
        /// What the relations stand for that the statement names.
        const NAMED = 1;
        /// Which functions there are, and their bodies.
        const FUNCTIONS = 1 << 1;
        /// What runs where relations are read: views, policies.
        const READS = 1 << 2;
        /// What runs where tables are written: triggers, defaults, checks, rules; which tables are written with others.
        const WRITES = 1 << 3;
        /// Operators, casts, domains, and functions that look like columns.
        const OPERATORS = 1 << 4;
        /// Functions of whatever belongs to any table.
        const ALL_TABLES = 1 << 5;
        /// Triggers of TRUNCATE.
        const TRUNCATES = 1 << 6;
        /// Event triggers.
        const EVENTS = 1 << 7;
        /// What prepared statements mean: types and columns, and what is found by names.
        const MEANINGS = 1 << 8;
    }
}
