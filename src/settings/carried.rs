//! What one backend has: the settings that it was told, and the server's own of those that PostgreSQL reports.

use std::sync::Arc;

use super::{Profile, Profiles};

/// What PostgreSQL reports of who statements run as, which is nobody's default.
pub const WHO: [&[u8]; 2] = [b"is_superuser", super::AUTHORIZATION];

/// The values of reported settings in a session that has set nothing, in the order and spelling in which PostgreSQL
/// reports them. They change where the server reads its configuration anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Defaults(Vec<(Box<[u8]>, Box<[u8]>)>);

impl From<Vec<(Box<[u8]>, Box<[u8]>)>> for Defaults {
    fn from(reported: Vec<(Box<[u8]>, Box<[u8]>)>) -> Self {
        Self(reported)
    }
}

impl Defaults {
    /// The value of a setting by its name in any case; `None` where it is not reported.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Every one: name, value.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (&**name, &**value))
    }

    fn with(&self, name: &[u8], value: &[u8]) -> Self {
        let changed =
            |known: &[u8], old: &[u8]| if known.eq_ignore_ascii_case(name) { value.into() } else { old.into() };
        Self(self.iter().map(|(known, old)| (known.into(), changed(known, old))).collect())
    }
}

/// What one backend carries.
#[derive(Debug, Clone)]
pub struct Carried {
    pub profile: Arc<Profile>,
    /// Equal ones are one, whatever the backend.
    pub defaults: Arc<Defaults>,
    /// Settings that were set to what their default is. They would not follow it where it changes, and are reset before
    /// the next session.
    moot: Vec<Box<[u8]>>,
    /// Which of the defaults, by their places, were reported since the backend was told to be without some settings.
    heard: u64,
}

impl Carried {
    #[must_use]
    pub fn new(profile: Arc<Profile>, defaults: Arc<Defaults>) -> Self {
        Self { profile, defaults, moot: Vec::new(), heard: 0 }
    }

    /// The value that a backend has for a reported setting when it is told nothing.
    #[must_use]
    pub fn default_of(&self, name: &[u8]) -> Option<&[u8]> {
        self.defaults.get(name)
    }

    /// Whether nothing needs to be said for the backend to carry this.
    #[must_use]
    pub fn is(&self, profile: &Arc<Profile>) -> bool {
        self.moot.is_empty() && (Arc::ptr_eq(&self.profile, profile) || self.profile == *profile)
    }

    /// What was set to its default.
    #[must_use]
    pub fn moot(&self) -> &[Box<[u8]>] {
        &self.moot
    }

    /// This was set to what is its default.
    pub fn note_moot(&mut self, name: &[u8]) {
        if !self.moot.iter().any(|known| **known == *name) {
            self.moot.push(name.into());
        }
    }

    /// The backend has reported this without having been told anything else than its profile, or being told to be
    /// without it. Where that is news, the server's default has changed.
    pub fn hear_default(&mut self, name: &[u8], value: &[u8], profiles: &Profiles) {
        if let Some(place) = self.defaults.iter().take(64).position(|(known, _)| known == name) {
            self.heard |= 1 << place;
        }
        let is_told = self.profile.get(&name.to_ascii_lowercase()) == Some(value);
        if !is_told && !WHO.contains(&name) {
            self.set_default(name, value, profiles);
        }
    }

    /// This is the server's default now.
    pub fn set_default(&mut self, name: &[u8], value: &[u8], profiles: &Profiles) {
        if self.default_of(name).is_some_and(|known| known != value) {
            self.defaults = profiles.intern_defaults(self.defaults.with(name, value));
        }
    }

    /// The backend has done what it was told to carry another profile. What it was told to be without, and has not
    /// reported, had the default's value all the same.
    pub fn turn_into(&mut self, profile: Arc<Profile>, profiles: &Profiles) {
        let (before, heard) = (std::mem::replace(&mut self.profile, profile), std::mem::take(&mut self.heard));
        self.moot.clear();
        if before.is_empty() {
            return;
        }
        let defaults = Arc::clone(&self.defaults);
        for (place, (name, default)) in defaults.iter().take(64).enumerate() {
            let key = name.to_ascii_lowercase();
            let had = before.get(&key).filter(|had| *had != default && self.profile.get(&key).is_none());
            if let Some(had) = had.filter(|_| heard & (1 << place) == 0 && !WHO.contains(&name)) {
                self.set_default(name, had, profiles);
            }
        }
    }
}
