//! Frames of the PostgreSQL protocol, version 3 (manual: "Frontend/Backend Protocol").
//!
//! Pure data: finding frame boundaries ([`scan`]), borrowed views of the few frames that change state ([`view`], of a
//! portal [`portal`]), building what pgweir itself says ([`build`], [`result`]), the packets that come before a session
//! ([`startup`]) and the SQLSTATEs that pgweir raises ([`sqlstate`]). It reads no socket and keeps no state beyond one
//! frame.
//! What a frame means for a session is decided in `session`.

pub mod build;
pub mod portal;
pub mod result;
pub mod scan;
pub mod sqlstate;
pub mod startup;
pub mod tag;
pub mod view;

pub use scan::{Frame, Header, Malformed};
