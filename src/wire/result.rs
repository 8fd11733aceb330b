//! Results that pgweir answers itself, as frames (manual: "Message Formats").

use super::build::write_frame;
use super::tag::backend;

pub const BIND_COMPLETE: [u8; 5] = [backend::BIND_COMPLETE, 0, 0, 0, 4];
pub const EMPTY_QUERY_RESPONSE: [u8; 5] = [backend::EMPTY_QUERY_RESPONSE, 0, 0, 0, 4];
pub const NO_DATA: [u8; 5] = [backend::NO_DATA, 0, 0, 0, 4];
pub const PORTAL_SUSPENDED: [u8; 5] = [backend::PORTAL_SUSPENDED, 0, 0, 0, 4];

/// A column as RowDescription tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    pub name: &'a str,
    pub type_oid: u32,
    /// Bytes of every value; −1 where they differ.
    pub size: i16,
    pub binary: bool,
}

/// Appends a RowDescription; columns beyond what its count can hold are left out.
pub fn row_description<'a>(to: &mut Vec<u8>, fields: impl IntoIterator<Item = Field<'a>>) {
    write_frame(to, backend::ROW_DESCRIPTION, |to| {
        counted(to, fields, |to, field| {
            to.extend(field.name.bytes().filter(|byte| *byte != 0));
            to.push(0);
            // Of no table and no column of one.
            to.extend_from_slice(&[0; 6]);
            to.extend_from_slice(&field.type_oid.to_be_bytes());
            to.extend_from_slice(&field.size.to_be_bytes());
            to.extend_from_slice(&(-1_i32).to_be_bytes());
            to.extend_from_slice(&u16::from(field.binary).to_be_bytes());
        });
    });
}

/// Appends a DataRow; `None` is NULL.
pub fn data_row(to: &mut Vec<u8>, values: impl IntoIterator<Item = Option<Vec<u8>>>) {
    write_frame(to, backend::DATA_ROW, |to| {
        counted(to, values, |to, value| match value {
            Some(bytes) => {
                to.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes());
                to.extend_from_slice(&bytes);
            }
            None => to.extend_from_slice(&(-1_i32).to_be_bytes()),
        });
    });
}

/// Appends a ParameterDescription.
pub fn parameter_description(to: &mut Vec<u8>, types: &[u32]) {
    write_frame(to, backend::PARAMETER_DESCRIPTION, |to| {
        counted(to, types, |to, oid| to.extend_from_slice(&oid.to_be_bytes()));
    });
}

/// Appends a CommandComplete.
pub fn command_complete(to: &mut Vec<u8>, tag: &str) {
    write_frame(to, backend::COMMAND_COMPLETE, |to| {
        to.extend_from_slice(tag.as_bytes());
        to.push(0);
    });
}

/// A count of two bytes, and what is counted.
fn counted<T>(to: &mut Vec<u8>, items: impl IntoIterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    let start = to.len();
    to.extend_from_slice(&[0; 2]);
    let mut count: u16 = 0;
    for item in items {
        let Some(next) = count.checked_add(1) else { break };
        write(to, item);
        count = next;
    }
    if let Some(field) = to.get_mut(start..start + 2) {
        field.copy_from_slice(&count.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::view;
    use super::*;

    #[test]
    fn a_row_reads_back() {
        let mut frame = Vec::new();
        data_row(&mut frame, [Some(b"x".to_vec()), None]);
        assert_eq!(view::data_row(&frame[5..]), Ok(vec![Some(&b"x"[..]), None]));
    }

    #[test]
    fn a_description_has_eighteen_bytes_and_a_name_for_each_column() {
        let mut frame = Vec::new();
        row_description(&mut frame, [Field { name: "calls", type_oid: 20, size: 8, binary: true }]);
        assert_eq!(frame.len(), 5 + 2 + 6 + 18);
        assert_eq!(frame[5..7], [0, 1]);
    }
}
