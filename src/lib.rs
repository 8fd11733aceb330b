//! pgweir: a PostgreSQL connection-pooling proxy that applications cannot tell from PostgreSQL.
//!
//! Modules from the bottom up; each imports only what stands above it here, as `docs/architecture.md` tells and
//! `tests/it/tidy.rs` checks. To learn what happens to a query, read `docs/life-of-a-query.md`.
//!
//! - [`wire`]: frames of the protocol, as bytes
//! - [`sql`]: what a statement's text tells
//! - [`config`]: the written configuration and the checked one
//! - [`stats`]: counters and histograms
//! - [`net`]: sockets and TLS
//! - [`auth`]: who a client is, and what we prove to PostgreSQL
//! - [`settings`]: what a session has set, and how a backend gets to carry it
//! - [`prepared`]: prepared statements, shared and renamed
//! - [`clients`]: who is connected
//! - [`control`]: our own questions to PostgreSQL
//! - [`pool`]: who gets which backend, and when
//! - [`session`]: the protocol's state machine, without any I/O
//! - [`backend`]: one connection to PostgreSQL
//! - [`insight`]: what every statement has cost, by its pattern
//! - [`notify`]: LISTEN without a pin
//! - [`proxy`]: moves bytes and does what `session` decides
//! - [`admin`]: the console, in which pgweir itself answers
//! - [`server`]: from an accepted connection to a session
//! - [`app`]: builds, starts, reloads and drains all of it
//! - [`report`]: what a running pgweir has seen, written for people and programs
//! - [`demo`]: all of it at work in front of a throw-away PostgreSQL
//! - [`cli`]: the command line

pub mod admin;
pub mod app;
pub mod auth;
pub mod backend;
pub mod cli;
pub mod clients;
pub mod config;
pub mod control;
pub mod demo;
pub mod insight;
pub mod net;
pub mod notify;
pub mod pool;
pub mod prepared;
pub mod proxy;
pub mod report;
pub mod server;
pub mod session;
pub mod settings;
pub mod sql;
pub mod stats;
pub mod wire;
