//! What a session may do that has an effect beyond its statement, by kind, and how far pgweir carries each.

use Feature as F;
use Support::{Carried, Kept, Missing, Pinned};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// SET, RESET and SHOW of settings that PostgreSQL knows.
    Settings,
    /// SET LOCAL and set_config(…, true).
    LocalSettings,
    /// RESET ALL.
    ResetAll,
    /// set_config in a statement or in an expression, with literals or bound values.
    SetConfig,
    /// The same with a name that is bound as well.
    BoundNames,
    /// The same where that name is one of the user's own.
    BoundCustom,
    /// Settings with a name of the user's own.
    Custom,
    /// SET SESSION of these.
    CustomSession,
    /// Settings whose name no text tells.
    ComputedCustom,
    /// SET LOCAL of these.
    CustomLocal,
    /// Whether such a setting is null or empty where it has no value.
    CustomAbsence,
    /// SET ROLE, SET SESSION AUTHORIZATION.
    Roles,
    /// set_config('role', …).
    RoleByName,
    /// SET SESSION CHARACTERISTICS, default_transaction_…
    Characteristics,
    Savepoints,
    /// BEGIN with options, SET TRANSACTION.
    TransactionOptions,
    Chain,
    Errors,
    /// Foreign keys that are checked at COMMIT.
    DeferredErrors,
    /// Texts whose end depends on standard_conforming_strings.
    Quoting,
    /// Statements of the protocol: named, closed, described.
    Named,
    /// Portals that are suspended, and batches of several Syncs.
    Portals,
    /// SQL-level PREPARE, EXECUTE, DEALLOCATE.
    SqlPrepare,
    /// DEALLOCATE and EXECUTE of statements of the protocol.
    MixedPrepare,
    /// pg_prepared_statements.
    ShowPrepared,
    DiscardAll,
    /// DISCARD PLANS, TEMP, SEQUENCES.
    DiscardParts,
    Temp,
    /// ON COMMIT DROP, temporary tables of a transaction that is rolled back.
    TempOfTransaction,
    Locks,
    TransactionLocks,
    /// Cursors of a transaction.
    Cursors,
    HoldCursors,
    Listen,
    Notify,
    /// Whether a notification names the process id that its sender was given.
    Senders,
    /// Process ids as sessions were told them, in questions and signals.
    Pids,
    /// pg_backend_pid() compared with these.
    OwnPid,
    /// nextval, setval.
    Draws,
    /// currval, lastval.
    CurrentValues,
    /// Functions, procedures and DO bodies that set settings.
    SettingFunctions,
    /// Functions that are called by triggers, defaults and rules.
    HiddenFunctions,
    /// Functions that are called by views, operators, casts and domains, and by what functions read and write.
    DeeperFunctions,
    /// The same that leave objects, locks, channels.
    LeavingFunctions,
}

/// How pgweir deals with a feature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// Without a backend of one's own: sessions may outnumber backends.
    Carried,
    /// By keeping the backend.
    Pinned,
    /// By keeping it until DISCARD ALL: PostgreSQL cannot say that it is needed no more.
    Kept,
    /// Not yet, and why.
    Missing(&'static str),
}

pub const FEATURES: &[(Feature, Support)] = &[
    (F::Settings, Carried),
    (F::LocalSettings, Carried),
    (F::ResetAll, Carried),
    (F::SetConfig, Carried),
    (F::BoundNames, Carried),
    (F::BoundCustom, Carried),
    (F::Custom, Carried),
    (F::CustomSession, Carried),
    (F::ComputedCustom, Kept),
    (F::CustomLocal, Carried),
    (F::CustomAbsence, Missing("a backend that knew the name says '' and not null")),
    (F::Roles, Carried),
    (F::RoleByName, Carried),
    (F::Characteristics, Carried),
    (F::Savepoints, Carried),
    (F::TransactionOptions, Carried),
    (F::Chain, Carried),
    (F::Errors, Carried),
    (F::DeferredErrors, Carried),
    (F::Quoting, Carried),
    (F::Named, Carried),
    (F::Portals, Carried),
    (F::SqlPrepare, Pinned),
    (F::MixedPrepare, Pinned),
    (F::ShowPrepared, Carried),
    (F::DiscardAll, Carried),
    (F::DiscardParts, Carried),
    (F::Temp, Pinned),
    (F::TempOfTransaction, Pinned),
    (F::Locks, Pinned),
    (F::TransactionLocks, Carried),
    (F::Cursors, Carried),
    (F::HoldCursors, Pinned),
    (F::Listen, Carried),
    (F::Notify, Carried),
    (F::Senders, Carried),
    (F::Pids, Carried),
    (F::OwnPid, Kept),
    (F::Draws, Carried),
    (F::CurrentValues, Kept),
    (F::SettingFunctions, Carried),
    (F::HiddenFunctions, Carried),
    (F::DeeperFunctions, Carried),
    (F::LeavingFunctions, Pinned),
];

/// DISCARD ALL and RESET after a change of role, for superusers.
pub const REPORTS_OF_ROLES: Support = Carried;

/// Features after which a superuser may be none.
pub const ROLE_CHANGING: &[Feature] = &[F::Roles, F::RoleByName, F::LeavingFunctions];

/// How far pgweir is with `feature`.
pub fn support(feature: Feature) -> Support {
    FEATURES.iter().find(|(known, _)| *known == feature).map_or(Missing("unknown"), |(_, support)| *support)
}

impl Support {
    pub fn is_missing(self) -> bool {
        matches!(self, Missing(_))
    }
}
