//! Settings of sessions: what a client set, as one interned [`Profile`], and the batch that makes a backend carry it.
//!
//! A backend remembers the profile it carries ([`Carried`]); a lease whose backend already carries the session's
//! profile costs one pointer comparison. Startup parameters are checked by PostgreSQL once and then known
//! ([`Startups`]). When a profile changes is decided in `session`; who applies it is `backend` and `proxy`.

mod profile;
mod startup;

pub use profile::{
    AUTHORIZATION, CLIENT_ENCODING, Carried, Profile, Profiles, ROLE, SEARCH_PATH, is_plan_neutral, is_utf8,
    set_config, write_text, write_transition,
};
pub use startup::{Known, Settings, Startups, requested};
