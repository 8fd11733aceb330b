//! Protocol-level prepared statements, remapped: clients' names on one side, statements that backends hold under
//! pgweir's names on the other.
//!
//! [`Registry`] knows every distinct statement once, for all clients. [`Names`] is what one client calls them,
//! [`Held`] what one backend has. When something is parsed, bound or closed is decided in `session`.

mod held;
mod names;
mod registry;

pub use held::Held;
pub use names::Names;
pub use registry::{Kind, Registry, Standing, Statement};

/// A name that no statement ever has on a backend: describing it fails there, which is how an error of ours fails
/// the backend's transaction too.
pub const NEVER: &[u8] = b"pgweir: no such statement";

/// The name under which backends hold the shared statement with this id.
#[must_use]
pub fn backend_name(id: u64) -> Box<[u8]> {
    format!("__pgweir_{id}").into_bytes().into_boxed_slice()
}
