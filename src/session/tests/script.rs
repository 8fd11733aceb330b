//! What clients do, and what they read without pgweir.

use super::model::Model;

/// What a fresh backend reports.
pub(super) const FRESH: [(&str, &str); 3] = [("DateStyle", "ISO, MDY"), ("TimeZone", "GMT"), ("application_name", "")];

/// One step of a client's script.
#[derive(Clone)]
pub(super) enum Say {
    Frame(Vec<u8>),
    /// Waits until everything said so far has been worked off and answered.
    Pause,
}

impl std::fmt::Debug for Say {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Frame(frame) => write!(f, "{}", frame.escape_ascii()),
            Self::Pause => f.write_str("Pause"),
        }
    }
}

/// What a client does, and the settings it starts with.
#[derive(Debug, Clone, Default)]
pub(super) struct Script {
    pub(super) startup: Vec<(&'static str, &'static str)>,
    pub(super) says: Vec<Say>,
}

impl Script {
    /// Says everything without waiting.
    pub(super) fn at_once(frames: Vec<Vec<u8>>) -> Self {
        Self { startup: Vec::new(), says: frames.into_iter().map(Say::Frame).collect() }
    }

    /// Waits after every frame.
    pub(super) fn patient(frames: Vec<Vec<u8>>) -> Self {
        let says = frames.into_iter().flat_map(|frame| [Say::Frame(frame), Say::Pause]).collect();
        Self { startup: Vec::new(), says }
    }

    pub(super) fn startup(self, startup: Vec<(&'static str, &'static str)>) -> Self {
        Self { startup, ..self }
    }

    fn settings(&self) -> Vec<(&'static str, &'static str)> {
        let value = |name: &str, fresh| self.startup.iter().find(|(n, _)| *n == name).map_or(fresh, |(_, v)| *v);
        FRESH.iter().map(|(name, fresh)| (*name, value(name, *fresh))).collect()
    }
}

/// What a client reads without pgweir: all of it, how much of it at each pause, and what its backend committed.
pub(super) struct Direct {
    pub(super) read: Vec<u8>,
    pub(super) at_pause: Vec<usize>,
    pub(super) committed: Vec<String>,
    /// The client broke the protocol so that PostgreSQL closed its connection.
    pub(super) may_break: bool,
}

pub(super) fn direct(script: &Script) -> Direct {
    let mut model = Model::new(&script.settings());
    let mut at_pause = Vec::new();
    for say in &script.says {
        match say {
            Say::Frame(frame) => model.feed(frame),
            Say::Pause => at_pause.push(model.output.len()),
        }
    }
    let may_break = model.dead;
    Direct { read: model.output, at_pause, committed: model.committed, may_break }
}
