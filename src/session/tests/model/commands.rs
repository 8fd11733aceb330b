//! What the model's statements do.

use std::sync::atomic::Ordering;

use super::{Failed, Model, Outcome, error, word};
use crate::wire::build;
use crate::wire::tag::backend;
use crate::wire::view::Transaction;

impl Model {
    pub(super) fn run(&mut self, text: &str, limit: u32, sent: u32) -> Result<Outcome, Failed> {
        if text.contains("boom") {
            return Err(error("22012", "boom"));
        }
        self.late |= text.contains("late");
        match text.split_once(' ').unwrap_or((text, "")) {
            ("select", count) => return Ok(self.rows(count.parse().unwrap_or(1), limit, sent)),
            ("show", name) => {
                let value = self.current.get(name).cloned().unwrap_or_default();
                self.say(backend::DATA_ROW, value.as_bytes());
                self.complete("SHOW");
            }
            ("begin" | "commit" | "rollback", _) => return self.run_transaction(text),
            ("set" | "reset" | "RESET" | "SELECT" | "SET", _) => self.run_setting(text),
            ("deallocate", _) => {
                self.named.clear();
                self.complete("DEALLOCATE ALL");
            }
            ("discard", _) => {
                if self.status != Transaction::Idle || !self.alone {
                    return Err(error("25001", "DISCARD ALL cannot run inside a transaction block"));
                }
                self.named.clear();
                self.current = self.defaults.clone();
                self.complete("DISCARD ALL");
                self.commit()?;
            }
            ("copy", "stdout") => {
                self.say(backend::COPY_OUT_RESPONSE, b"\0\0\0");
                self.say(backend::COPY_DATA, b"row\n");
                self.say(backend::COPY_DONE, b"");
                self.complete("COPY 1");
            }
            ("copy", _) => {
                self.say(backend::COPY_IN_RESPONSE, b"\0\0\0");
                self.write_out();
                return Ok(Outcome::CopyIn);
            }
            ("notice", _) => {
                self.say(backend::NOTICE_RESPONSE, b"SNOTICE\0VNOTICE\0C00000\0Mwell\0\0");
                self.complete("DO");
            }
            ("redefine", _) => {
                self.columns.fetch_add(1, Ordering::Relaxed);
                self.complete("ALTER TABLE");
            }
            _ => {
                self.begun.push(text.to_owned());
                self.complete("INSERT 0 1");
            }
        }
        Ok(Outcome::Done)
    }

    fn run_setting(&mut self, text: &str) {
        match text.split_once(' ').unwrap_or((text, "")) {
            ("set", setting) => {
                let (name, value) = setting.split_once('=').expect("a setting");
                self.current.insert(name.to_ascii_lowercase(), value.to_owned());
                self.complete("SET");
            }
            ("reset" | "RESET", name) => {
                let name = name.replace('"', "").to_ascii_lowercase();
                self.reset(&name);
                self.complete("RESET");
            }
            ("SET", setting) => {
                let (name, value) = setting.split_once("=E'").expect("a setting of ours");
                let value = value.strip_suffix('\'').expect("a string").replace("''", "'");
                self.current.insert(name.replace('"', ""), value);
                self.complete("SET");
            }
            ("SELECT", calls) => {
                for call in calls.split("pg_catalog.set_config(E'").skip(1) {
                    let (name, rest) = call.split_once("',E'").expect("a name");
                    let (value, _) = rest.split_once("',false)").expect("a value");
                    self.current.insert(name.to_owned(), value.replace("''", "'"));
                }
                self.complete("SELECT 0");
            }
            (other, _) => panic!("{other} is no setting"),
        }
    }

    fn run_transaction(&mut self, text: &str) -> Result<Outcome, Failed> {
        match (word(text), self.status) {
            ("begin", Transaction::Idle) => self.status = Transaction::Open,
            ("begin", _) => self.warn("there is already a transaction in progress"),
            ("commit", Transaction::Open) => self.commit()?,
            ("commit", Transaction::Idle) => {
                self.warn("there is no transaction in progress");
                self.commit()?;
            }
            (_, before) => {
                if before == Transaction::Idle {
                    self.warn("there is no transaction in progress");
                }
                self.status = Transaction::Idle;
                self.undo();
                self.complete("ROLLBACK");
                return Ok(Outcome::Done);
            }
        }
        self.complete(&word(text).to_ascii_uppercase());
        Ok(Outcome::Done)
    }

    fn rows(&mut self, count: u32, limit: u32, sent: u32) -> Outcome {
        let upto = if limit == 0 { count } else { count.min(sent + limit) };
        for _ in sent..upto {
            self.say(backend::DATA_ROW, b"\0\0");
        }
        if upto < count || (limit > 0 && upto == sent + limit) {
            self.say(backend::PORTAL_SUSPENDED, b"");
        } else {
            self.complete(&format!("SELECT {}", upto - sent));
        }
        Outcome::Rows(upto)
    }

    fn reset(&mut self, name: &str) {
        match self.defaults.get(name) {
            Some(value) => drop(self.current.insert(name.to_owned(), value.clone())),
            None => drop(self.current.remove(name)),
        }
    }

    fn complete(&mut self, tag: &str) {
        self.say(backend::COMMAND_COMPLETE, format!("{tag}\0").as_bytes());
    }

    fn warn(&mut self, message: &str) {
        self.buffered.extend_from_slice(&build::warning("25P01", message));
    }
}
