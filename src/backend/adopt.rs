//! Startup parameters that no client has asked for before: PostgreSQL itself says whether they are valid, and what
//! they read as.

use std::io;
use std::sync::Arc;

use super::dialer::Target;
use super::{Backend, Report, connect, talk};
use crate::settings::{self, Known, Profiles, Settings};
use crate::wire::build;

const DATE_STYLE: &[u8] = b"datestyle";
/// Whether ALTER DATABASE or ALTER ROLE has set a DateStyle for who has logged in.
const IS_DATE_STYLE_GIVEN: &[u8] = b"SELECT EXISTS (SELECT FROM pg_catalog.pg_db_role_setting \
    WHERE EXISTS (SELECT FROM pg_catalog.unnest(setconfig) AS setting \
    WHERE pg_catalog.strpos(pg_catalog.lower(setting), 'datestyle=') OPERATOR(pg_catalog.=) 1) \
    AND EXISTS (SELECT FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) \
    WHERE setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, datid]) \
    AND setrole OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, usesysid])))";

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

/// What is wanted, as a login reads it. A client may give one part of `DateStyle`, as JDBC does. PostgreSQL reads startup
/// packets before it looks at what is set for a database or a role, so that the other part comes from its
/// configuration; a backend has the database's. Where there is such a setting, a login of its own tells both parts;
/// they are left as they are where PostgreSQL lets nobody in now.
///
/// # Errors
/// The backend was lost and must be closed.
pub async fn as_at_login(backend: &mut Backend, target: &Target, mut wanted: Settings) -> io::Result<Settings> {
    let Some((_, value)) = wanted.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(DATE_STYLE)) else {
        return Ok(wanted);
    };
    backend.held.set_unnamed(None);
    let answer = query(backend, IS_DATE_STYLE_GIVEN).await?;
    let is_given = answer.row.and_then(|row| row.into_iter().next().flatten());
    if is_given.as_deref() != Some(b"t") {
        return Ok(wanted);
    }
    let parameters = [(DATE_STYLE, value.as_slice())];
    let connected = connect::connect(&target.endpoint(), target.login(), &parameters).await;
    let Ok(connect::Connected { mut stream, logged_in, .. }) = connected else {
        return Ok(wanted);
    };
    // It is closed with or without these words.
    let _ = talk::send(&mut stream, &build::TERMINATE).await;
    let reported = logged_in.statuses.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(DATE_STYLE));
    if let Some((_, reported)) = reported {
        *value = reported.into();
    }
    Ok(wanted)
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
