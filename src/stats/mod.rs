//! What is counted: leases, what passes over them, their time and the waiting before them; and limits that are met.
//!
//! A pool owns a [`Traffic`] and [`Times`]. Whoever keeps a limit of the configuration counts in the process'
//! [`LimitHits`]. Patterns and pools mean nothing here.

mod limits;
mod traffic;

pub use limits::{Limit, LimitCounts, LimitHits};
pub use traffic::{Times, TimesSummary, Traffic};
