//! Settings of sessions: what a client set, as one interned [`Profile`], and the batch that makes a backend carry it.
//!
//! | to read about | go to |
//! |---|---|
//! | what a backend has, and what the server gives it | `carried` |
//! | profiles, and which settings matter to what | `profile` |
//! | what makes a backend carry one | `transition` |
//! | what clients ask for at their start | `startup` |
//!
//! A backend remembers the profile it carries ([`Carried`]); a lease whose backend already carries the session's
//! profile costs one pointer comparison. Startup parameters are checked by PostgreSQL once and then known
//! ([`Startups`]). When a profile changes is decided in `session`; who applies it is `backend` and `proxy`.

mod carried;
mod profile;
mod startup;
mod transition;

pub use carried::{Carried, Defaults, WHO};
pub use profile::{AUTHORIZATION, CLIENT_ENCODING, Profile, Profiles, ROLE, SEARCH_PATH, is_plan_neutral, is_utf8};
pub use startup::{Known, Settings, Startups, lasting, requested};
pub use transition::{Scope, select_set, set, set_config, write_text, write_transition};
