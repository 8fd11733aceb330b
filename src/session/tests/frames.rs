//! What clients send, one call a frame.

use crate::wire::build;
use crate::wire::tag::client;

pub(super) fn query(text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    build::write_query(&mut frame, text.as_bytes());
    frame
}

pub(super) fn parse(name: &str, text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    build::write_parse(&mut frame, name.as_bytes(), text.as_bytes(), b"\0\0");
    frame
}

pub(super) fn bind(portal: &str, statement: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    build::write_bind_head(&mut frame, portal.as_bytes(), statement.as_bytes(), 6);
    frame.extend_from_slice(&[0; 6]);
    frame
}

pub(super) fn describe(kind: char, name: &str) -> Vec<u8> {
    target(client::DESCRIBE, kind, name)
}

pub(super) fn close(kind: char, name: &str) -> Vec<u8> {
    target(client::CLOSE, kind, name)
}

fn target(tag: u8, kind: char, name: &str) -> Vec<u8> {
    raw(tag, format!("{kind}{name}\0").as_bytes())
}

pub(super) fn execute(portal: &str, rows: u32) -> Vec<u8> {
    let mut body = portal.as_bytes().to_vec();
    body.push(0);
    body.extend_from_slice(&rows.to_be_bytes());
    raw(client::EXECUTE, &body)
}

pub(super) fn sync() -> Vec<u8> {
    raw(client::SYNC, b"")
}

pub(super) fn flush() -> Vec<u8> {
    raw(client::FLUSH, b"")
}

pub(super) fn copy_data(text: &str) -> Vec<u8> {
    raw(client::COPY_DATA, text.as_bytes())
}

pub(super) fn copy_done() -> Vec<u8> {
    raw(client::COPY_DONE, b"")
}

pub(super) fn copy_fail() -> Vec<u8> {
    raw(client::COPY_FAIL, b"enough\0")
}

pub(super) fn function_call(function: &str) -> Vec<u8> {
    raw(client::FUNCTION_CALL, function.as_bytes())
}

pub(super) fn raw(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    build::copy_frame(&mut frame, tag, body);
    frame
}
