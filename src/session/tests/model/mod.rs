//! A small PostgreSQL in memory: it runs no SQL, but keeps statements, portals, transactions, settings, COPY and
//! "ignore till Sync" as the real one does, and writes out its replies only when the real one would.
//!
//! Texts: `select N` (N rows), `insert X`, `begin`, `commit`, `rollback`, `set N=V`, `reset N`, `show N`,
//! `deallocate all`, `discard all`, `copy stdin`, `copy view stdin` (fails after it has asked for data), `copy stdout`, `notice`, `redefine`
//! (all tables have a column more); `syntax` in a text fails its Parse, `needy` its Bind, `boom` its execution,
//! `late` its commit. COPY data that holds `bad` is refused.

mod commands;
mod extended;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::super::{Fault, reports};
use crate::prepared::Names;
use crate::wire::tag::{backend, client};
use crate::wire::view::{self, Bind, Parse, Target, Transaction};
use crate::wire::{Header, Malformed, build};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prepared {
    pub(super) text: String,
    /// The columns of its result.
    columns: u16,
}

#[derive(Debug)]
struct Portal {
    text: String,
    columns: u16,
    sent: u32,
    done: bool,
}

/// Where a COPY from the client came from, and what is left to do after it.
#[derive(Debug)]
enum Copying {
    Execute,
    Query(VecDeque<String>),
}

type Settings = BTreeMap<String, String>;

#[derive(Debug)]
pub(super) struct Model {
    pub(super) named: BTreeMap<Vec<u8>, Prepared>,
    pub(super) unnamed: Option<Prepared>,
    portals: BTreeMap<Vec<u8>, Portal>,
    pub(super) status: Transaction,
    skipping: bool,
    extended: bool,
    copying: Option<Copying>,
    /// Spelling and order of the reported settings.
    names: Vec<String>,
    defaults: Settings,
    current: Settings,
    reported: Settings,
    at_begin: Option<Settings>,
    /// How many columns all tables have, for every backend.
    columns: Arc<AtomicU16>,
    pub(super) begun: Vec<String>,
    /// Nothing else has run, or will, in an implicit transaction block.
    alone: bool,
    late: bool,
    pub(super) committed: Vec<String>,
    input: Vec<u8>,
    buffered: Vec<u8>,
    /// What has been written out.
    pub(super) output: Vec<u8>,
    pub(super) dead: bool,
    /// Frames that it has read.
    pub(super) taken: usize,
}

/// The ErrorResponse.
struct Failed(Vec<u8>);

impl Model {
    pub(super) fn new(settings: &[(&str, &str)]) -> Self {
        let defaults: Settings =
            settings.iter().map(|(name, value)| (name.to_ascii_lowercase(), (*value).to_owned())).collect();
        Self {
            named: BTreeMap::new(),
            unnamed: None,
            portals: BTreeMap::new(),
            status: Transaction::Idle,
            skipping: false,
            extended: false,
            copying: None,
            names: settings.iter().map(|(name, _)| (*name).to_owned()).collect(),
            current: defaults.clone(),
            reported: defaults.clone(),
            defaults,
            at_begin: None,
            columns: Arc::default(),
            begun: Vec::new(),
            alone: true,
            late: false,
            committed: Vec::new(),
            input: Vec::new(),
            buffered: Vec::new(),
            output: Vec::new(),
            dead: false,
            taken: 0,
        }
    }

    /// A backend of the same database.
    pub(super) fn beside(&self, settings: &[(&str, &str)]) -> Self {
        Self { columns: Arc::clone(&self.columns), ..Self::new(settings) }
    }

    /// Takes bytes of a client and does all that they ask for.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
        while let Some(header) = Header::read(&self.input, 1 << 20).expect("frames keep their boundaries") {
            if self.dead || self.input.len() < header.frame() {
                return;
            }
            let frame: Vec<u8> = self.input.drain(..header.frame()).collect();
            self.take(header.tag, &frame[5..]);
        }
    }

    pub(super) fn is_at_boundary(&self) -> bool {
        self.input.is_empty()
    }

    /// Whether it could be lent to another client without harm.
    pub(super) fn is_clean(&self) -> bool {
        self.status == Transaction::Idle
            && !self.skipping
            && self.copying.is_none()
            && self.begun.is_empty()
            && self.buffered.is_empty()
            && self.at_begin.is_none()
    }

    fn take(&mut self, tag: u8, body: &[u8]) {
        self.taken += 1;
        if self.copying.is_some() {
            return self.take_copy(tag, body);
        }
        match tag {
            client::SYNC => (self.skipping, self.extended) = (false, false),
            client::QUERY | client::FUNCTION_CALL => self.extended = false,
            client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL => {}
            _ => self.extended = true,
        }
        if self.skipping {
            return;
        }
        let result = match tag {
            client::QUERY => return self.query(body),
            client::PARSE => self.parse(body),
            client::BIND => self.bind(body),
            client::DESCRIBE => self.describe(body),
            client::CLOSE => self.close(body),
            client::EXECUTE => self.execute(body),
            client::SYNC => {
                let result = self.end_statement();
                if result.is_ok() {
                    self.ready();
                }
                result
            }
            client::FLUSH => {
                self.write_out();
                Ok(())
            }
            client::FUNCTION_CALL => {
                let result = self.function_call(body);
                if result.is_ok() {
                    self.ready();
                }
                result
            }
            client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL => Ok(()),
            tag => panic!("a client's frame with tag {tag}"),
        };
        if let Err(failed) = result {
            self.fail(failed);
        }
    }

    // === replies ===

    fn say(&mut self, tag: u8, body: &[u8]) {
        build::copy_frame(&mut self.buffered, tag, body);
    }

    fn write_out(&mut self) {
        self.output.append(&mut self.buffered);
    }

    fn ready(&mut self) {
        self.alone = true;
        for name in &self.names {
            let key = name.to_ascii_lowercase();
            if self.reported.get(&key) != self.current.get(&key) {
                build::parameter_status_raw(&mut self.buffered, name.as_bytes(), self.current[&key].as_bytes());
            }
        }
        self.reported = self.current.clone();
        self.buffered.extend_from_slice(&build::ready_for_query(self.status));
        self.write_out();
    }

    fn fail(&mut self, Failed(report): Failed) {
        self.buffered.extend_from_slice(&report);
        // Errors are written out at once.
        self.write_out();
        self.copying = None;
        self.undo();
        if self.status == Transaction::Open {
            self.status = Transaction::Failed;
        }
        if self.extended {
            self.skipping = true;
        } else {
            self.ready();
        }
    }

    // === transactions ===

    fn start(&mut self) {
        if self.at_begin.is_none() {
            self.at_begin = Some(self.current.clone());
        }
    }

    fn undo(&mut self) {
        self.begun.clear();
        self.portals.clear();
        self.late = false;
        if let Some(settings) = self.at_begin.take() {
            self.current = settings;
        }
    }

    fn commit(&mut self) -> Result<(), Failed> {
        self.status = Transaction::Idle;
        if std::mem::take(&mut self.late) {
            return Err(error("23505", "late"));
        }
        self.at_begin = None;
        self.portals.clear();
        self.committed.append(&mut self.begun);
        Ok(())
    }

    /// The end of a Query or Sync: what no block holds is committed.
    fn end_statement(&mut self) -> Result<(), Failed> {
        if self.status == Transaction::Idle { self.commit() } else { Ok(()) }
    }

    fn refuse_in_failed(&self, text: &str) -> Result<(), Failed> {
        if self.status == Transaction::Failed && !matches!(word(text), "commit" | "rollback") {
            return Err(error("25P02", "current transaction is aborted"));
        }
        Ok(())
    }

    // === messages ===

    fn query(&mut self, body: &[u8]) {
        self.unnamed = None;
        self.portals.remove(&b""[..]);
        self.start();
        let text = text_of(view::query_text(body));
        if text.contains("syntax") {
            return self.fail(error("42601", "syntax error"));
        }
        if text.trim().is_empty() {
            self.say(backend::EMPTY_QUERY_RESPONSE, b"");
            return self.after_query(Ok(()));
        }
        let statements = text.split(';').filter(|text| !text.trim().is_empty()).map(|text| text.trim().to_owned());
        let statements: VecDeque<_> = statements.collect();
        self.alone &= statements.len() == 1;
        self.go_on(statements);
    }

    fn go_on(&mut self, mut statements: VecDeque<String>) {
        while let Some(text) = statements.pop_front() {
            let result = self.refuse_in_failed(&text).and_then(|()| {
                if returns_rows(&text) {
                    self.say_columns(self.columns.load(Ordering::Relaxed));
                }
                self.run(&text, 0, 0)
            });
            match result {
                Ok(Outcome::CopyIn) => {
                    self.copying = Some(Copying::Query(statements));
                    if text == "copy view stdin" {
                        self.fail(error("42809", "cannot copy to view"));
                    }
                    return;
                }
                Ok(_) => {}
                Err(failed) => return self.fail(failed),
            }
        }
        self.after_query(Ok(()));
    }

    fn after_query(&mut self, result: Result<(), Failed>) {
        match result.and_then(|()| self.end_statement()) {
            Ok(()) => self.ready(),
            Err(failed) => self.fail(failed),
        }
    }

    fn take_copy(&mut self, tag: u8, body: &[u8]) {
        match tag {
            client::SYNC | client::FLUSH => {}
            client::COPY_DATA if !text_of(body).contains("bad") => self.begun.push(text_of(body)),
            client::COPY_DATA => self.fail(error("22P02", "bad data")),
            client::COPY_FAIL => self.fail(error("57014", "COPY from stdin failed")),
            client::COPY_DONE => {
                self.say(backend::COMMAND_COMPLETE, b"COPY 1\0");
                if let Some(Copying::Query(statements)) = self.copying.take() {
                    self.go_on(statements);
                }
            }
            _ => {
                self.fail(error("08P01", "unexpected message during COPY from stdin"));
                self.die();
            }
        }
    }

    /// Ends the connection with a last word.
    pub(super) fn die(&mut self) {
        let fault = Fault::fatal("57P01", "terminating connection");
        self.buffered.extend_from_slice(&fault.to_frame());
        self.write_out();
        self.dead = true;
    }
}

enum Outcome {
    Done,
    CopyIn,
    /// Rows of the portal that have been sent altogether.
    Rows(u32),
}

fn error(code: &'static str, message: &str) -> Failed {
    Failed(Fault::error(code, message).to_frame())
}

fn malformed(_: Malformed) -> Failed {
    error("08P01", "invalid message")
}

fn returns_rows(text: &str) -> bool {
    matches!(word(text), "select" | "show" | "SELECT")
}

fn word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
