//! One task per client: moves bytes between the client and whatever backend it has leased, and performs what
//! `session` decides.
//!
//! It knows sockets, time and the pool, and no protocol beyond frame boundaries. A session is served by
//! [`Serving`], a future that is written by hand because thousands of them wait at once; its parts are
//! `client_side` and `backend_side` (bytes), `leases`, `cancelling`, `deadlines`, `pinning` (keeping a backend),
//! `listening`, `administration`, `processes` and `standing_in` (what concerns other connections), `measuring` (what
//! insight is told), `shortage` (what a client hears when there is no backend), `half_closed`, `ending` and
//! `winding_down`. What an active session borrows lives in [`active`]; what belongs to a thread in [`worker`]; what
//! sessions of one pool share in [`route`].

pub mod active;
mod administration;
mod backend_side;
pub mod buffer;
mod cancelling;
mod client_side;
mod deadlines;
mod ending;
mod half_closed;
mod leases;
mod listening;
mod measuring;
mod pinning;
mod processes;
pub mod route;
pub mod serve;
mod shortage;
mod standing_in;
mod winding_down;
pub mod worker;

pub use ending::refusal_frame;
pub use route::{Limits, Route};
pub use serve::Serving;
pub use shortage::shortage_fault;
pub use worker::{Occupied, Worker};
