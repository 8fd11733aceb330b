//! Interned sets of settings, and the statements that turn one set into another.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::Defaults;

/// Settings that cannot change what a statement means or how it is planned: sessions that differ only in these
/// share prepared statements. How values are written is no such setting: a plan may have constants in it that were.
const PLAN_NEUTRAL: [&[u8]; 7] = [
    b"application_name",
    b"client_min_messages",
    b"deadlock_timeout",
    b"idle_in_transaction_session_timeout",
    b"idle_session_timeout",
    b"lock_timeout",
    b"statement_timeout",
];

/// Whether a setting, by its name in lower case, changes neither what a statement means nor how it is planned.
#[must_use]
pub fn is_plan_neutral(name: &[u8]) -> bool {
    PLAN_NEUTRAL.contains(&name)
}

/// Settings by which the constants of a text are read when it is prepared, and never again.
const READING: [&[u8]; 11] = [
    b"array_nulls",
    b"backslash_quote",
    CLIENT_ENCODING,
    b"datestyle",
    b"intervalstyle",
    b"lc_monetary",
    b"standard_conforming_strings",
    b"timezone",
    b"timezone_abbreviations",
    b"transform_null_equals",
    b"xmloption",
];

/// Settings that say where names are looked for; with others a statement is read anew from its text (manual:
/// "PREPARE").
const PLACES: [&[u8]; 3] = [SEARCH_PATH, ROLE, AUTHORIZATION];

/// What ends a statement that takes longer, in milliseconds unless they say otherwise.
const TIMEOUTS: [&[u8]; 2] = [b"statement_timeout", b"transaction_timeout"];
/// A busy machine may need so many for a statement that does nothing.
const HASTE: u32 = 100;
/// A machine that stands still for so many does so for more than one statement.
const PATIENCE: u32 = 10_000;

/// What the server reports but no session can set.
const READ_ONLY: [&[u8]; 7] = [
    b"in_hot_standby",
    b"integer_datetimes",
    b"is_superuser",
    b"server_encoding",
    b"server_version",
    b"session_authorization",
    b"server_version_num",
];

/// Who statements run as; set after everything else, and left before anything else, since what a session has set it
/// may have set as somebody who was allowed to.
pub const AUTHORIZATION: &[u8] = b"session_authorization";
pub const ROLE: &[u8] = b"role";
/// How a client's texts are read, and what it is sent is written.
pub const CLIENT_ENCODING: &[u8] = b"client_encoding";
/// Where names without a schema are looked for.
pub const SEARCH_PATH: &[u8] = b"search_path";

/// Settings that differ from those of a fresh backend: names in lower case, in order, with the values that SHOW
/// gave. Both are in UTF-8, whatever the client's encoding is.
#[derive(Debug, Default)]
pub struct Profile {
    settings: Vec<(Box<[u8]>, Box<[u8]>)>,
    plan_key: u64,
    /// How long a statement may take, in milliseconds, where that is no more than seconds.
    timeout: Option<u32>,
    /// A number for the application's name, by whoever counts by it.
    pub application: OnceLock<u32>,
}

impl Profile {
    fn new(mut settings: Vec<(Box<[u8]>, Box<[u8]>)>) -> Self {
        settings.sort();
        let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
        for (name, value) in settings.iter().filter(|(name, _)| !is_plan_neutral(name)) {
            (name, value).hash(&mut hasher);
        }
        let timeouts = settings.iter().filter(|(name, _)| TIMEOUTS.contains(&&**name));
        let timeout = timeouts.filter_map(|(_, value)| milliseconds(value)).min();
        Self { plan_key: hasher.finish(), settings, timeout, application: OnceLock::new() }
    }

    /// Whether statements that a backend is sent between two sessions may take too long for it.
    #[must_use]
    pub fn is_hasty(&self) -> bool {
        self.timeout.is_some_and(|timeout| timeout < HASTE)
    }

    /// Whether several statements, of which one ends all of this, may take too long for it.
    pub(super) fn may_be_late(&self) -> bool {
        self.timeout.is_some_and(|timeout| timeout < PATIENCE)
    }

    /// Equal for profiles under which a statement has the same meaning and plan.
    #[must_use]
    pub fn plan_key(&self) -> u64 {
        self.plan_key
    }

    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.settings.iter().find(|(n, _)| **n == *name).map(|(_, value)| &**value)
    }

    /// Whether the constants of a text may be read otherwise than by another profile, once it has reached the server.
    #[must_use]
    pub fn reads_otherwise_than(&self, other: &Self) -> bool {
        READING.iter().any(|name| *name != CLIENT_ENCODING && self.get(name) != other.get(name))
    }

    /// Whether names are looked for at other places than by another profile.
    #[must_use]
    pub fn looks_elsewhere_than(&self, other: &Self) -> bool {
        PLACES.iter().any(|name| self.get(name) != other.get(name))
    }

    /// The settings by which constants are read: name, value, `None` for the server's.
    pub fn reading(&self) -> impl Iterator<Item = (&'static [u8], Option<&[u8]>)> {
        READING.into_iter().map(|name| (name, self.get(name)))
    }

    /// Those of them that have other values in another profile.
    pub fn reading_unlike<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = (&'static [u8], Option<&'a [u8]>)> {
        self.reading().filter(|(name, value)| other.get(name) != *value)
    }

    /// Whether a client reads and writes UTF-8, which it does unless it says otherwise or its database has another
    /// encoding.
    #[must_use]
    pub fn is_utf8(&self) -> bool {
        self.get(CLIENT_ENCODING).is_none_or(is_utf8)
    }

    /// Every setting: name, value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.settings.iter().map(|(name, value)| (&**name, &**value))
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }
}

impl PartialEq for Profile {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other) || self.settings == other.settings
    }
}

impl Eq for Profile {}

impl Hash for Profile {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.settings.hash(state);
    }
}

/// Every profile in use, each once. Shared by all sessions.
#[derive(Debug)]
pub struct Profiles {
    interned: Mutex<HashSet<Arc<Profile>>>,
    defaults: Mutex<HashSet<Arc<Defaults>>>,
    fresh: Arc<Profile>,
    limit: usize,
    full: Arc<AtomicU64>,
}

impl Profiles {
    /// Remembers at most `limit` profiles; further ones work, but are compared by content.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let fresh = Arc::new(Profile::new(Vec::new()));
        let interned = Mutex::new(HashSet::from([Arc::clone(&fresh)]));
        Self { interned, defaults: Mutex::default(), fresh, limit, full: Arc::default() }
    }

    /// Counts here how often there was no room for one more.
    #[must_use]
    pub fn counting(self, full: Arc<AtomicU64>) -> Self {
        Self { full, ..self }
    }

    /// The profile of a backend that was told nothing.
    #[must_use]
    pub fn fresh(&self) -> Arc<Profile> {
        Arc::clone(&self.fresh)
    }

    /// The profile with these settings; names are taken in lower case, the last of equal names wins.
    #[must_use]
    pub fn intern<'a>(&self, settings: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Arc<Profile> {
        let mut list: Vec<(Box<[u8]>, Box<[u8]>)> = Vec::new();
        for (name, value) in settings {
            let name = name.to_ascii_lowercase().into_boxed_slice();
            list.retain(|(other, _)| *other != name);
            list.push((name, value.into()));
        }
        self.find_or_add(Profile::new(list))
    }

    /// `base` with one setting changed, as a backend reported it; `base` itself where nothing changes.
    #[must_use]
    pub fn with(&self, base: &Arc<Profile>, name: &[u8], value: &[u8], default: Option<&[u8]>) -> Arc<Profile> {
        let name = name.to_ascii_lowercase();
        if READ_ONLY.contains(&name.as_slice()) || base.get(&name) == Some(value) {
            return Arc::clone(base);
        }
        let others = base.settings.iter().filter(|(n, _)| **n != *name).map(|(n, v)| (&**n, &**v));
        let changed = (default != Some(value)).then_some((name.as_slice(), value));
        self.intern(others.chain(changed))
    }

    /// The one that equals these. There are as many as servers, databases and users have different ones.
    #[must_use]
    pub fn intern_defaults(&self, defaults: Defaults) -> Arc<Defaults> {
        let mut interned = self.defaults.lock();
        if let Some(known) = interned.get(&defaults) {
            return Arc::clone(known);
        }
        interned.retain(|known| Arc::strong_count(known) > 1);
        let defaults = Arc::new(defaults);
        interned.insert(Arc::clone(&defaults));
        defaults
    }

    fn find_or_add(&self, profile: Profile) -> Arc<Profile> {
        let mut interned = self.interned.lock();
        if let Some(known) = interned.get(&profile) {
            return Arc::clone(known);
        }
        if interned.len() >= self.limit {
            interned.retain(|known| Arc::strong_count(known) > 1);
        }
        let profile = Arc::new(profile);
        if interned.len() < self.limit {
            interned.insert(Arc::clone(&profile));
        } else {
            self.full.fetch_add(1, Ordering::Relaxed);
        }
        profile
    }
}

/// Whether this is UTF-8 as `client_encoding` shows it: aliases are shown by their proper names, but for this one.
#[must_use]
pub fn is_utf8(encoding: &[u8]) -> bool {
    matches!(encoding, b"UTF8" | b"UNICODE")
}

/// A time as SHOW gives it, or as a client has written it; `None` for none, and for minutes and longer units.
fn milliseconds(value: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(value).ok()?.trim();
    let (number, unit) = text.split_at(text.find(|digit: char| !digit.is_ascii_digit()).unwrap_or(text.len()));
    let factor = match unit.trim() {
        "" | "ms" => 1,
        "us" => return Some(1),
        "s" => 1000,
        _ => return None,
    };
    number.parse::<u32>().ok()?.checked_mul(factor).filter(|timeout| *timeout > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_settings_are_one_profile_whatever_their_order_and_case() {
        let profiles = Profiles::new(10);
        let one = profiles.intern([(&b"DateStyle"[..], &b"ISO, DMY"[..]), (b"timezone", b"UTC")]);
        let two = profiles.intern([(&b"TimeZone"[..], &b"UTC"[..]), (b"datestyle", b"ISO, DMY")]);
        assert!(Arc::ptr_eq(&one, &two));
        assert!(!Arc::ptr_eq(&one, &profiles.with(&one, b"TimeZone", b"utc", None)));
        assert!(Arc::ptr_eq(&one, &profiles.with(&one, b"TimeZone", b"UTC", None)));
    }

    #[test]
    fn a_setting_that_is_back_at_its_default_leaves_the_profile() {
        let profiles = Profiles::new(10);
        let set = profiles.with(&profiles.fresh(), b"TimeZone", b"UTC", Some(b"GMT"));
        assert!(!set.is_empty());
        assert!(Arc::ptr_eq(&profiles.fresh(), &profiles.with(&set, b"TimeZone", b"GMT", Some(b"GMT"))));
    }

    #[test]
    fn values_that_differ_only_in_case_are_different() {
        let profiles = Profiles::new(10);
        let one = profiles.intern([(&b"application_name"[..], &b"App"[..])]);
        let two = profiles.intern([(&b"application_name"[..], &b"app"[..])]);
        assert_ne!(one, two);
        assert_eq!(one.plan_key(), two.plan_key());
    }

    #[test]
    fn profiles_beyond_the_limit_still_work() {
        let profiles = Profiles::new(2);
        let kept: Vec<_> = (0..5).map(|n| profiles.intern([(&b"x"[..], &[b'0' + n][..])])).collect();
        assert_eq!(kept[4], profiles.intern([(&b"x"[..], &b"4"[..])]));
    }

    #[test]
    fn what_ends_statements_soon_is_no_time_to_say_anything_in() {
        let profiles = Profiles::new(10);
        let with = |value: &str| profiles.intern([(b"statement_timeout".as_slice(), value.as_bytes())]);
        for hasty in ["1ms", "50", "99 ms", "500us"] {
            assert!(with(hasty).is_hasty(), "{hasty}");
        }
        for patient in ["0", "100ms", "1s", "2min", "1h", "-1"] {
            assert!(!with(patient).is_hasty(), "{patient}");
        }
        assert!(with("5s").may_be_late() && !with("30s").may_be_late());
    }
}
