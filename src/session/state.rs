//! What a session has on its backend beyond its transaction: what may be there, what is known to be, and what has to
//! be asked to know it.

use bitflags::bitflags;

use crate::sql::Effects;

/// Names that SQL's PREPARE has given and that are remembered; who gives more is believed to have given any.
const PREPARED_NAMES: usize = 1000;

/// Custom settings that one session may have; one that has more keeps its backend.
const CUSTOM_SETTINGS: usize = 256;

bitflags! {
    /// What can be carried to no other backend.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct Keeps: u16 {
        const TEMPORARY_OBJECTS = 1;
        const ADVISORY_LOCKS = 1 << 1;
        const HELD_CURSORS = 1 << 2;
        /// By SQL's PREPARE.
        const PREPARED_STATEMENTS = 1 << 3;
        const CHANNELS = 1 << 4;
        const LIBRARY = 1 << 5;
        /// Values drawn from sequences, of which currval and lastval tell.
        const SEQUENCES = 1 << 6;
        /// It was told its backend's process ID.
        const PROCESS_ID = 1 << 7;
        const UNKNOWN = 1 << 8;
        /// Whose names are not known, of which there are too many, or that are beyond the session's reach.
        const SETTINGS = 1 << 9;
        /// A seed, a replication slot or origin, a base backup.
        const BACKEND_STATE = 1 << 10;
        /// By functions that the configuration names.
        const UNREADABLE = 1 << 11;
        /// What is only kept where there is room.
        const BETTER_KEPT = Self::SEQUENCES.bits() | Self::PROCESS_ID.bits();
    }
}

bitflags! {
    /// What a backend can be asked.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub(super) struct Parts: u8 {
        const SETTINGS = 1;
        const TEMPORARY_OBJECTS = 1 << 1;
        const ADVISORY_LOCKS = 1 << 2;
        const HELD_CURSORS = 1 << 3;
        const PREPARED_STATEMENTS = 1 << 4;
        const CHANNELS = 1 << 5;
        /// Settings that whoever statements run as may not read.
        const HIDDEN = 1 << 6;
    }
}

/// For each thing that may keep a backend and can be asked for: what makes it, what may end it.
const KEEPERS: [(Keeps, Parts, Effects, Effects); 5] = [
    (Keeps::TEMPORARY_OBJECTS, Parts::TEMPORARY_OBJECTS, Effects::TEMPORARY, Effects::DROPS),
    (Keeps::ADVISORY_LOCKS, Parts::ADVISORY_LOCKS, Effects::LOCKS, Effects::FREES_LOCKS),
    (Keeps::HELD_CURSORS, Parts::HELD_CURSORS, Effects::HELD_CURSOR, Effects::CLOSES_CURSOR),
    (Keeps::PREPARED_STATEMENTS, Parts::PREPARED_STATEMENTS, Effects::PREPARES, Effects::DEALLOCATES),
    (Keeps::CHANNELS, Parts::CHANNELS, Effects::LISTENS, Effects::UNLISTENS),
];

bitflags! {
    /// How settings may differ from those that are known.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    struct Altered: u8 {
        /// Until the transaction ends.
        const HERE = 1;
        /// Until the backend is asked.
        const FROM_NOW_ON = 1 << 1;
        /// Until the transaction ends, but only those by which nothing is read.
        const NEUTRAL = 1 << 2;
    }
}

/// After these settings may be others that nobody has asked for yet.
const ALTERS: Effects = Effects::SETTINGS
    .with(Effects::ROLE)
    .with(Effects::CALLS)
    .with(Effects::EXECUTES)
    .with(Effects::ANYTHING)
    .with(Effects::DISCARDS);

/// What one session has left on its backends, and may have left on the one it has leased.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What was sent since the backend was last asked.
    ran: Effects,
    keeps: Keeps,
    /// Settings may have been made whose names nobody knows: whoever gets the backend next must not have them.
    unnamed: bool,
    /// What statements mean may be otherwise than the session's profile says.
    altered: Altered,
    /// The backend has something that nothing but its end removes.
    stays: bool,
    /// Nothing for most sessions.
    names: Option<Box<UserNames>>,
}

/// What the session has given names of its own.
#[derive(Debug, Default)]
struct UserNames {
    /// Settings, which PostgreSQL lists nowhere.
    custom: Vec<Box<[u8]>>,
    /// Statements, by SQL's PREPARE.
    prepared: Vec<Box<[u8]>>,
    /// What these may tell of the session ([`Effects::TELLS`]).
    told: Effects,
}

impl State {
    /// Notes that a text with these effects is being sent.
    pub(super) fn note(&mut self, effects: Effects) {
        if effects.any_of(ALTERS) {
            self.altered |= Altered::FROM_NOW_ON;
        }
        if effects.any_of(Effects::UNSETS) {
            // As set_config for the transaction does, of which no more is known.
            self.note_local();
        }
        self.note_unaltering(effects);
    }

    /// Notes that settings are made for the transaction at hand.
    pub(super) fn note_local(&mut self) {
        self.altered |= Altered::HERE;
    }

    /// As [`Self::note_local`], of settings by which statements are neither read nor planned.
    pub(super) fn note_local_neutral(&mut self) {
        self.altered |= Altered::NEUTRAL;
    }

    /// The transaction has ended, and with it what was set for it alone.
    pub(super) fn end_local(&mut self) {
        self.altered -= Altered::HERE | Altered::NEUTRAL;
    }

    /// Whether statements may be read and planned otherwise than the session's profile says.
    pub(super) fn is_altered(&self) -> bool {
        self.altered.intersects(Altered::HERE | Altered::FROM_NOW_ON)
    }

    /// Whether what was sent may have given settings other values, for the transaction or for longer.
    pub(super) fn may_have_set(&self) -> bool {
        !self.altered.is_empty() || self.ran.any_of(ALTERS)
    }

    /// Notes a text with these effects that changes nothing by which statements are read.
    pub(super) fn note_unaltering(&mut self, effects: Effects) {
        self.ran |= effects;
        self.stays |= effects.any_of(Effects::LOADS | Effects::STAYS | Effects::STATEFUL);
        self.keeps |= keeps_unasked(effects);
        // What is prepared is not read.
        self.unnamed |= effects.any_of(Effects::PREPARES | Effects::EXECUTES);
    }

    /// Whether the backend is of no use to others; it has gone.
    pub(super) fn take_stays(&mut self) -> bool {
        std::mem::take(&mut self.stays)
    }

    /// Notes that settings may have been made whose names nobody knows.
    pub(super) fn note_unnamed(&mut self) {
        self.unnamed = true;
    }

    /// Whether the backend is to be rid of settings that nobody knows, now that it is asked. While it stays with the
    /// session they stay, too.
    pub(super) fn take_unnamed(&mut self) -> bool {
        self.keeps.is_empty() && std::mem::take(&mut self.unnamed)
    }

    /// Notes custom settings that may be there.
    pub(super) fn note_custom(&mut self, names: impl Iterator<Item = impl AsRef<[u8]>>) {
        for name in names {
            let name = name.as_ref().to_ascii_lowercase().into_boxed_slice();
            let known = &mut self.names.get_or_insert_default().custom;
            if known.contains(&name) {
                continue;
            }
            if known.len() >= CUSTOM_SETTINGS {
                self.keeps |= Keeps::SETTINGS;
                return;
            }
            known.push(name);
        }
    }

    /// Forgets names that turned out to be no settings; those that were not `asked` about stay, and all while a statement
    /// that SQL's PREPARE has made may set them yet.
    pub(super) fn retain_custom(&mut self, asked: usize, exists: impl Fn(&[u8]) -> bool) {
        if let Some(names) = &mut self.names
            && names.prepared.is_empty()
        {
            let mut place = 0;
            names.custom.retain(|name| {
                place += 1;
                place > asked || exists(name)
            });
        }
    }

    pub(super) fn custom(&self) -> &[Box<[u8]>] {
        self.names.as_ref().map_or(&[], |names| &names.custom)
    }

    /// Notes a statement that SQL's PREPARE makes.
    pub(super) fn note_prepared(&mut self, name: &[u8]) {
        if !self.has_prepared(name) {
            self.names.get_or_insert_default().prepared.push(name.into());
        }
    }

    /// Whether a statement of this name may have been made by SQL's PREPARE.
    pub(super) fn has_prepared(&self, name: &[u8]) -> bool {
        let may =
            |prepared: &[Box<[u8]>]| prepared.len() >= PREPARED_NAMES || prepared.iter().any(|known| **known == *name);
        self.names.as_ref().is_some_and(|names| may(&names.prepared))
    }

    /// Notes that this is told by a text that may make such a statement, and perhaps by that.
    pub(super) fn note_told(&mut self, tells: Effects) {
        if !tells.is_empty() {
            self.names.get_or_insert_default().told |= tells;
        }
    }

    /// What a statement that SQL's PREPARE has made may tell of the session.
    pub(super) fn told_when_executed(&self) -> Effects {
        self.names.as_ref().map_or(Effects::NONE, |names| names.told)
    }

    /// The statements that SQL's PREPARE has made are these.
    pub(super) fn set_prepared(&mut self, prepared: Vec<Box<[u8]>>) {
        match &mut self.names {
            Some(names) => {
                if prepared.is_empty() {
                    names.told = Effects::NONE;
                }
                names.prepared = prepared;
            }
            None if prepared.is_empty() => {}
            None => self.names.get_or_insert_default().prepared = prepared,
        }
    }

    /// Whether names may mean the session's own temporary objects.
    pub(super) fn may_have_temporary(&self) -> bool {
        self.keeps.intersects(Keeps::TEMPORARY_OBJECTS) || self.ran.any_of(Effects::TEMPORARY)
    }

    /// Whether anything that was sent may have left something behind.
    pub(super) fn is_uncertain(&self) -> bool {
        !self.ran.is_empty() || self.unnamed
    }

    /// What the backend must be asked before it can be known what it holds.
    pub(super) fn parts(&self) -> Parts {
        if self.ran.any_of(Effects::CALLS | Effects::ANYTHING | Effects::DISCARDS) {
            return Parts::all();
        }
        // As long as the backend is kept anyway, nobody needs to know but for what else it is kept.
        let changes = KEEPERS
            .iter()
            .any(|(keeps, _, makes, ends)| self.ran.any_of(if self.keeps.intersects(*keeps) { *ends } else { *makes }));
        if !self.keeps.is_empty() && !changes {
            return Parts::empty();
        }
        if self.ran.any_of(Effects::EXECUTES) {
            return Parts::all();
        }
        let mut parts = Parts::empty();
        if self.ran.any_of(Effects::SETTINGS | Effects::ROLE) || (self.unnamed && self.keeps.is_empty()) {
            parts |= Parts::SETTINGS;
        }
        if self.ran.any_of(Effects::ROLE) {
            parts |= Parts::HIDDEN;
        }
        for (keeps, part, makes, ends) in KEEPERS {
            if self.ran.any_of(makes) || (self.keeps.intersects(keeps) && self.ran.any_of(ends)) {
                parts |= part;
            }
        }
        // What is made without a schema is temporary where the search path says so, which may be known by nobody.
        if self.ran.any_of(Effects::DEFINES) {
            parts |= Parts::TEMPORARY_OBJECTS;
        }
        parts
    }

    /// The backend has said what it holds of these parts.
    pub(super) fn learn(&mut self, parts: Parts, found: Keeps) {
        for (keeps, part, ..) in KEEPERS {
            if parts.intersects(part) {
                self.keeps.set(keeps, found.intersects(keeps));
            }
        }
    }

    /// It is being asked: what runs from now on may leave something anew.
    pub(super) fn asked(&mut self) {
        self.ran = Effects::NONE;
        self.altered -= Altered::FROM_NOW_ON;
    }

    /// Nobody else may have the backend after the session.
    pub(super) fn keep_for_good(&mut self, keeps: Keeps) {
        self.keep(keeps);
        self.stays = true;
    }

    pub(super) fn keep(&mut self, keeps: Keeps) {
        self.keeps |= keeps;
    }

    pub(super) fn forgo(&mut self, keeps: Keeps) {
        self.keeps -= keeps;
    }

    /// What keeps the backend with the session.
    pub(super) fn keeps(&self) -> Keeps {
        self.keeps
    }

    /// DISCARD ALL has removed everything but loaded libraries, and whatever else lives in them.
    pub(super) fn discard(&mut self) {
        self.set_prepared(Vec::new());
        self.ran = Effects::NONE;
        self.altered = Altered::empty();
        self.unnamed = false;
        self.keeps &= Keeps::LIBRARY | Keeps::UNREADABLE;
    }
}

/// Whether names in a text with these effects may be those of settings that it sets.
pub(super) fn names_settings(effects: Effects) -> bool {
    effects.any_of(Effects::SETTINGS | Effects::CALLS | Effects::PREPARES | Effects::EXECUTES | Effects::ANYTHING)
}

/// What will keep the backend once a text with these effects has run.
pub(super) fn will_keep(effects: Effects) -> Keeps {
    let kept = KEEPERS.iter().filter(|(_, _, makes, _)| effects.any_of(*makes));
    kept.fold(keeps_unasked(effects), |all, (keeps, ..)| all | *keeps)
}

/// What keeps the backend after a text with these effects, and cannot be asked for.
fn keeps_unasked(effects: Effects) -> Keeps {
    let mut keeps = Keeps::empty();
    keeps.set(Keeps::LIBRARY, effects.any_of(Effects::LOADS));
    keeps.set(Keeps::UNREADABLE, effects.any_of(Effects::STATEFUL));
    keeps.set(Keeps::BACKEND_STATE, effects.any_of(Effects::STAYS));
    keeps.set(Keeps::SETTINGS, effects.any_of(Effects::HOLDS) && !effects.any_of(Effects::STAYS));
    keeps
}
