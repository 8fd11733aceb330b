//! Startup parameters: checked by PostgreSQL once, then known, so that a login needs no backend.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{AUTHORIZATION, Defaults, Profile};
use crate::wire::startup::{Startup, split_options};

/// Startup parameters that are not settings (manual: "Message Formats", StartupMessage).
const NOT_SETTINGS: [&[u8]; 4] = [b"database", b"options", b"replication", b"user"];

/// What a client gets that starts with a set of parameters that PostgreSQL accepted before.
#[derive(Debug, Clone)]
pub struct Known {
    pub profile: Arc<Profile>,
    /// What the server's defaults were.
    pub defaults: Arc<Defaults>,
    /// What it is told at its login: what PostgreSQL warns of, and ParameterStatus frames.
    pub told: Arc<[u8]>,
}

/// A list of settings: name, value.
pub type Settings = Vec<(Vec<u8>, Vec<u8>)>;

/// The startup profiles of one pool that PostgreSQL has accepted.
#[derive(Debug)]
pub struct Startups {
    known: Mutex<HashMap<Settings, Known>>,
    limit: usize,
}

impl Startups {
    /// Remembers at most `limit`; when full it starts anew.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { known: Mutex::default(), limit }
    }

    #[must_use]
    pub fn get(&self, settings: &Settings) -> Option<Known> {
        self.known.lock().get(settings).cloned()
    }

    pub fn learn(&self, settings: Settings, known: Known) {
        let mut table = self.known.lock();
        if table.len() >= self.limit {
            table.clear();
        }
        table.insert(settings, known);
    }

    /// Forgets everything: what a fresh backend reports may have changed.
    pub fn forget(&self) {
        self.known.lock().clear();
    }
}

/// The settings that a startup packet asks for: first those of `options`, then its own parameters, which win.
///
/// # Errors
/// PostgreSQL's words about an option that is not understood.
pub fn requested(startup: &Startup) -> Result<Settings, String> {
    let mut settings = match startup.parameter("options") {
        Some(options) => split_options(options)?,
        None => Vec::new(),
    };
    for (name, value) in &startup.parameters {
        if !NOT_SETTINGS.contains(&name.as_slice()) {
            settings.push((name.to_ascii_lowercase(), value.clone()));
        }
    }
    Ok(settings)
}

/// Those of the settings asked for that come into force. Who the session is to run as PostgreSQL checks, as if it were to
/// be set, and then leaves as the login has made it.
#[must_use]
pub fn lasting(settings: &Settings) -> Settings {
    settings.iter().filter(|(name, _)| !name.eq_ignore_ascii_case(AUTHORIZATION)).cloned().collect()
}
