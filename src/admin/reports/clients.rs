//! SHOW CLIENTS: who is connected.

use super::Row;
use crate::admin::table::{Column, Type, Value};
use crate::clients::Clients;

pub(super) const COLUMNS: &[Column] = &[
    Column::new("pid", Type::Int8),
    Column::new("database", Type::Text),
    Column::new("user", Type::Text),
    Column::new("application", Type::Text),
    Column::new("address", Type::Text),
    Column::new("connected", Type::Timestamptz),
    Column::new("state", Type::Text),
    Column::new("backend", Type::Int8),
];

pub(super) fn rows(clients: &Clients) -> Vec<Row> {
    let mut all = clients.all();
    all.sort_by_key(|client| client.pid);
    let row = |client: &std::sync::Arc<crate::clients::Client>| {
        let identity = &client.identity;
        let backend = client.backend();
        vec![
            Value::Int(client.pid.into()),
            Value::text(&*identity.names.database),
            Value::text(&*identity.names.user),
            Value::text(&*identity.application),
            Value::Text(identity.address.map_or_else(|| "unix".to_owned(), |address| address.to_string())),
            Value::Time(identity.since),
            Value::text(if backend.is_some() { "active" } else { "idle" }),
            backend.map_or(Value::Null, |backend| Value::Int(backend.process.into())),
        ]
    };
    all.iter().map(row).collect()
}
