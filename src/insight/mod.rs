//! What the database was asked to do, by pattern: counted by every worker, merged once a second, reported from here.
//!
//! It keeps no text of a statement but the normalised one, and no value unless the configuration asks for samples. What
//! a statement means is `sql`'s; when it began and ended is told by `proxy`; who may read reports is `admin`'s.
//!
//! | to read about | go to |
//! |---|---|
//! | plans of slow patterns, and the index they lack | [`plans`] |
//! | what reports are made of | [`view`] |

pub mod plans;
pub mod view;
