//! The session against a model of PostgreSQL: whatever is shared and however bytes interleave, a client must read
//! what it would have read from the model directly.
//!
//! [`frames`] and [`script`] are what clients send, [`model`] is the backend, [`world`] puts sessions between the two,
//! [`schedules`] say who moves next.

mod conversations;
mod copies;
mod deaths;
mod frames;
mod leases;
mod model;
mod random;
mod schedules;
mod script;
mod settings;
mod statements;
mod world;
