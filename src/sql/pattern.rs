//! What is known of a pattern.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::definitions::Definitions;
use super::digest::Digest;
use super::effects::Effects;

/// All statements that differ only in their literals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pub digest: Digest,
    /// libpg_query's fingerprint, which pganalyze and others show too; `None` where the text does not parse.
    pub fingerprint: Option<Box<str>>,
    /// The text that it was learnt from, without its literals and comments, cut to [`Pattern::SHOWN`] bytes.
    pub normalised: Box<str>,
    pub traits: Traits,
    /// Of a text with several statements: each one's digest, in order. Empty where it has one, or where they cannot be
    /// told apart.
    pub parts: Box<[Digest]>,
    pub note: Note,
}

/// A number that whoever runs a pattern's statements keeps with it. It is no part of what the pattern is.
#[derive(Debug, Default)]
pub struct Note(AtomicU64);

impl Note {
    /// The last number that was set; 0 before.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self, number: u64) {
        self.0.store(number, Ordering::Relaxed);
    }
}

impl Clone for Note {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.get()))
    }
}

impl PartialEq for Note {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Note {}

impl Pattern {
    /// The most bytes that are kept of a normalised text.
    pub const SHOWN: usize = 2048;

    /// Whether it is one statement that only reads, and means nothing to the session as far as its words tell.
    #[must_use]
    pub fn is_bare_read(&self) -> bool {
        let traits = &self.traits;
        traits.kind == Kind::Read && traits.is_plain() && matches!(&*traits.commands, [Command::Other])
    }
}

/// What the statements of a pattern do, as far as their words tell. No value of a literal stands here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traits {
    pub kind: Kind,
    /// Statements in the text.
    pub statements: usize,
    /// Tables and views that are read, as they are written: sorted, each once, `schema.name` where a schema is given.
    pub reads: Box<[Box<str>]>,
    /// Those that are written, created, altered or dropped.
    pub writes: Box<[Box<str>]>,
    /// Functions and procedures that are called and are not PostgreSQL's own, or do whatever their argument says. Empty
    /// means that no user's code is called by name; what triggers, operators, casts, defaults and views call is not
    /// seen here.
    pub functions: Box<[Box<str>]>,
    /// Functions of PostgreSQL's own that are called, and fields of values that are no plain columns: a function of the
    /// same name may be meant, that is a user's.
    pub ambiguous: Box<[Box<str>]>,
    pub effects: Effects,
    /// What is known of the database that is not true any more once it has run.
    pub outdates: Definitions,
    /// An operator or a type stands in it, which may be a user's.
    pub computes: bool,
    /// What each statement is to the session, in order; [`Command::Other`] for all that have no meaning to it.
    pub commands: Box<[Command]>,
    pub shape: Shape,
}

impl Traits {
    /// Whether it means nothing to the session, as far as its words tell: no effects, and no user's code by name.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        self.effects.is_empty() && self.functions.is_empty()
    }
}

/// What of a text decides how many rows it may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Shape {
    /// Its last statement returns rows.
    pub returns_rows: bool,
    /// The outermost query has LIMIT or FETCH FIRST.
    pub limited: bool,
    /// The outermost query, UPDATE or DELETE has WHERE.
    pub filtered: bool,
    /// The outermost query asks for `*`.
    pub star: bool,
    /// Rows are locked: FOR UPDATE, FOR SHARE.
    pub locks_rows: bool,
    /// Joins, wherever they stand, written as JOIN or with commas.
    pub joins: u16,
}

/// What a text is, by the strongest of its statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// Nothing but white space, or no SQL that is known.
    #[default]
    Unknown,
    /// BEGIN, COMMIT, SAVEPOINT and their like.
    Transaction,
    /// SET, SHOW, DISCARD, LISTEN, PREPARE, DEALLOCATE, LOAD and their like.
    Session,
    /// SELECT, VALUES, TABLE, COPY TO, cursors.
    Read,
    /// Everything else: VACUUM, EXPLAIN, CALL, DO, EXECUTE, LOCK.
    Utility,
    /// INSERT, UPDATE, DELETE, MERGE, TRUNCATE, COPY FROM.
    Write,
    /// CREATE, ALTER, DROP, GRANT, COMMENT.
    Ddl,
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Unknown => "unknown",
            Self::Transaction => "transaction",
            Self::Session => "session",
            Self::Read => "read",
            Self::Utility => "utility",
            Self::Write => "write",
            Self::Ddl => "ddl",
        })
    }
}

/// A name as PostgreSQL folds it.
pub type Name = Box<str>;

/// A statement that changes its session, or what pools must know of. Values never stand here: a name that is written
/// as a string is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    Listen(Name),
    /// `None` is all channels.
    Unlisten(Option<Name>),
    Notify(Name),
    Prepare(Name),
    Execute(Name),
    /// `None` is all statements.
    Deallocate(Option<Name>),
    Discard(Discard),
    /// SET of any setting but those of the next two. SET TIME ZONE is `timezone`.
    Set {
        name: Name,
        local: bool,
    },
    /// SET … TO DEFAULT.
    Unset {
        name: Name,
        local: bool,
    },
    /// `None` is all settings.
    Reset(Option<Name>),
    /// SET ROLE and RESET ROLE.
    SetRole {
        local: bool,
    },
    /// SET SESSION AUTHORIZATION and its RESET.
    SetSessionAuthorization {
        local: bool,
    },
    /// SET TRANSACTION; of the current transaction alone.
    SetTransaction,
    Begin,
    Commit {
        chain: bool,
    },
    Rollback {
        chain: bool,
    },
    /// Their names are not part of a pattern: [`crate::sql::savepoints()`] reads them.
    Savepoint,
    RollbackTo,
    Release,
    PrepareTransaction,
    CommitPrepared,
    RollbackPrepared,
    /// DECLARE … WITH HOLD.
    DeclareHold,
    DropDatabase(Name),
    CreateDatabase {
        template: Option<Name>,
    },
    RenameDatabase(Name),
    /// ALTER DATABASE … SET TABLESPACE, which nobody may be connected to.
    MoveDatabase(Name),
    /// ALTER ROLE in any form, its SET and RENAME included. An empty name is a role known by a keyword, as
    /// CURRENT_USER or ALL.
    AlterRole(Name),
    DropRole(Box<[Name]>),
    /// ALTER DATABASE … SET or RESET.
    AlterDatabaseSet(Name),
    /// Names of types may mean others from now on, which functions that are compiled do not see.
    ChangeTypes,
    /// Columns of these relations, without schemas, may have other types from now on, or once there are others of these
    /// names.
    ChangeColumns(Box<[Name]>),
    Other,
}

/// What DISCARD throws away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Discard {
    All,
    Plans,
    Temporary,
    Sequences,
}
