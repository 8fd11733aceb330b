pub mod config;
pub mod prepared;
pub mod session;
pub mod settings;
pub mod sql;
pub mod wire;
