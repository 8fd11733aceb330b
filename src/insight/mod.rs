//! What the database was asked to do, by pattern: counted by every worker, merged once a second, reported from here.
//!
//! It keeps no text of a statement but the normalised one, and no value unless the configuration asks for samples. What
//! a statement means is `sql`'s; when it began and ended is told by `proxy`; who may read reports is `admin`'s.
//!
//! | to read about | go to |
//! |---|---|
//! | what reports are made of | [`view`] |
//! | how workers write down, and what it costs them | [`Recorder`]; the lists they fill: `lists` |
//! | merging and reporting | [`Insight`] |
//! | the rows, and what makes room for what | `table`; what one row counts: `tally`, `spread`, `counts`, `applications`, `top` |
//! | minutes that are over | `windows`, and how little they take: `packed` |
//! | hours of thirty days, in a file | `hours`, `record`, `store` |
//! | what has changed | `trends` |
//! | tags in comments | [`Tags`] |
//! | slow executions, and how PostgreSQL would run them | `slow`, [`Plans`] |
//! | N+1 and writes row by row | `repetitions` |

mod applications;
mod counts;
mod hours;
#[expect(clippy::module_inception, reason = "it is what this folder is about")]
mod insight;
mod lists;
mod names;
mod packed;
pub mod plans;
mod record;
mod recorder;
mod repetitions;
mod report;
mod slow;
mod spread;
mod store;
mod table;
mod tags;
mod tally;
#[cfg(test)]
mod tests;
mod top;
mod trends;
pub mod view;
mod windows;

pub use insight::{Filter, Insight};
pub use names::Place;
pub use plans::Plans;
pub use recorder::{Execution, Failed, Recorder};
pub use slow::SlowExecution;
pub use store::StoreFault;
pub use tags::Tags;
