//! Startup parameters that no client has asked for before: PostgreSQL itself says whether they are valid, and what
//! they read as.

use std::io;
use std::sync::Arc;

use super::{Backend, Report, talk};
use crate::settings::{self, Known, Profiles};
use crate::wire::build;

/// What came of an attempt to take on startup parameters.
#[derive(Debug)]
pub enum Adopted {
    Known(Known),
    /// PostgreSQL does not want one of them; the backend is as fresh.
    Refused(Report),
}

/// Makes `backend` carry what a client asked for at its start.
///
/// # Errors
/// The backend was lost and must be closed.
pub async fn adopt(backend: &mut Backend, wanted: &[(Vec<u8>, Vec<u8>)], profiles: &Profiles) -> io::Result<Adopted> {
    let fresh = profiles.fresh();
    backend.held.set_unnamed(None);
    let mut text = Vec::new();
    settings::write_transition(&mut text, &backend.carried, &fresh);
    if !text.is_empty() {
        let answer = query(backend, &text).await?;
        if answer.error.is_some() {
            return Err(io::Error::other("the backend's settings could not be reset"));
        }
        hear(backend, &answer.statuses, profiles);
        backend.carried.turn_into(Arc::clone(&fresh), profiles);
    }
    let (mut canonical, mut frames) = (Vec::new(), Vec::new());
    let mut statuses: Vec<(Vec<u8>, Vec<u8>)> =
        backend.carried.defaults.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
    if !wanted.is_empty() {
        let answer = query(backend, &settings::set_config(wanted)).await?;
        if let Some(error) = answer.error {
            hear(backend, &answer.statuses, profiles);
            return Ok(Adopted::Refused(Report::new(&error)));
        }
        for ((name, asked), value) in wanted.iter().zip(answer.row.unwrap_or_default()) {
            canonical.push((name.clone(), value.unwrap_or_else(|| asked.clone())));
        }
        frames = answer.notices;
        for (name, value) in answer.statuses {
            if !wanted.iter().any(|(known, _)| known.eq_ignore_ascii_case(&name)) {
                backend.carried.hear_default(&name, &value, profiles);
            }
            match statuses.iter_mut().find(|(known, _)| *known == name) {
                Some(status) => status.1 = value,
                None => statuses.push((name, value)),
            }
        }
    }
    let (canonical, moot): (Vec<_>, Vec<_>) =
        canonical.into_iter().partition(|(name, value)| backend.carried.default_of(name) != Some(value));
    moot.iter().for_each(|(name, _)| backend.carried.note_moot(name));
    let profile = profiles.intern(canonical.iter().map(|(name, value)| (name.as_slice(), value.as_slice())));
    backend.carried.profile = Arc::clone(&profile);
    for (name, value) in &statuses {
        build::parameter_status_raw(&mut frames, name, value);
    }
    let defaults = Arc::clone(&backend.carried.defaults);
    Ok(Adopted::Known(Known { profile, defaults, told: frames.into() }))
}

/// What the backend has reported while it was told nothing else than to be without settings is the server's.
fn hear(backend: &mut Backend, statuses: &[(Vec<u8>, Vec<u8>)], profiles: &Profiles) {
    for (name, value) in statuses {
        backend.carried.hear_default(name, value, profiles);
    }
}

async fn query(backend: &mut Backend, text: &[u8]) -> io::Result<talk::Answer> {
    let mut message = Vec::new();
    build::write_query(&mut message, text);
    talk::ask(&mut backend.stream, &message).await
}
