//! Integration tests: the real binary in front of a real PostgreSQL, one process, one throw-away cluster.
#![allow(unreachable_pub, reason = "a test binary exports nothing; `pub` says what a module offers its neighbours")]

mod administration;
mod auth;
mod cancel;
mod commands;
mod console;
mod control;
mod defaults;
mod definitions;
mod differential;
mod driver;
mod faults;
mod harness;
mod insight;
mod lifecycle;
mod limits;
mod listed;
mod listeners;
mod locks;
mod mentions;
mod modes;
mod notify;
mod outage;
mod pins;
mod plans;
mod pooling;
mod replay;
mod replication;
mod report;
mod scripts;
mod sequences;
mod state;
mod tidy;
mod tls;
mod vanishing;
