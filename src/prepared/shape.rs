//! The columns of a statement's result, as far as a change of them makes PostgreSQL refuse a plan.

use std::hash::{BuildHasher, Hasher};
use std::num::NonZeroU64;

use super::Types;
use crate::wire::tag::backend;
use crate::wire::view::split_cstr;

/// Bytes of a field of a RowDescription after its name: table, column, type, length, modifier, format.
const FIELD: usize = 18;

/// Names, types and modifiers of all columns, in short; equal where they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape(NonZeroU64);

/// What PostgreSQL says of a statement, as far as it matters.
#[derive(Debug, Clone, Default)]
pub struct Description {
    pub shape: Option<Shape>,
    /// The types of its parameters, where their client has left them open.
    pub types: Option<Types>,
}

impl Shape {
    /// Reads the body of a RowDescription or NoData; `None` where it is neither, or is broken.
    #[must_use]
    pub fn read(tag: u8, body: &[u8]) -> Option<Self> {
        let mut hasher = foldhash::fast::FixedState::with_seed(0).build_hasher();
        if tag == backend::ROW_DESCRIPTION {
            let (_count, mut rest) = body.split_first_chunk::<2>()?;
            while !rest.is_empty() {
                let (name, after) = split_cstr(rest)?;
                let (field, after) = after.split_first_chunk::<FIELD>()?;
                let [_, _, _, _, _, _, type_and_modifier @ .., _, _] = field;
                hasher.write(name);
                // A table that was made anew has another oid; that alone changes nothing.
                hasher.write(type_and_modifier);
                rest = after;
            }
        } else if tag != backend::NO_DATA {
            return None;
        }
        Some(Self(NonZeroU64::new(hasher.finish()).unwrap_or(NonZeroU64::MIN)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str, table: u8, kind: u8, modifier: u8, format: u8) -> Vec<u8> {
        let field = [0, 0, 0, table, 0, 1, 0, 0, 0, kind, 0, 4, 0, 0, 0, modifier, 0, format];
        [name.as_bytes(), b"\0", &field].concat()
    }

    fn shape(columns: &[Vec<u8>]) -> Option<Shape> {
        let count = [0, u8::try_from(columns.len()).unwrap_or(0)];
        Shape::read(backend::ROW_DESCRIPTION, &[&count[..], &columns.concat()].concat())
    }

    #[test]
    fn names_types_and_modifiers_make_the_shape() {
        let one = shape(&[column("a", 1, 23, 0, 0)]);
        assert!(one.is_some());
        assert_eq!(one, shape(&[column("a", 2, 23, 0, 1)]), "not the table, nor the format");
        for other in [column("b", 1, 23, 0, 0), column("a", 1, 25, 0, 0), column("a", 1, 23, 9, 0)] {
            assert_ne!(one, shape(&[other]));
        }
        assert_ne!(one, shape(&[column("a", 1, 23, 0, 0), column("a", 1, 23, 0, 0)]));
    }

    #[test]
    fn no_columns_and_no_data_have_a_shape_and_broken_ones_none() {
        assert!(Shape::read(backend::NO_DATA, b"").is_some());
        assert!(shape(&[]).is_some());
        assert_eq!(Shape::read(backend::ROW_DESCRIPTION, b"\0\x01a\0\0"), None);
        assert_eq!(Shape::read(backend::BIND_COMPLETE, b""), None);
    }
}
