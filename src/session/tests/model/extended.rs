//! The extended protocol, and function calls.

use std::sync::atomic::Ordering;

use super::*;

impl Model {
    pub(super) fn parse(&mut self, body: &[u8]) -> Result<(), Failed> {
        let parse = Parse::read(body).map_err(malformed)?;
        let name = Names::key(parse.name);
        self.start();
        if name.is_empty() {
            self.unnamed = None;
        }
        let text = text_of(parse.text);
        if text.contains("syntax") {
            return Err(error("42601", "syntax error"));
        }
        self.refuse_in_failed(&text)?;
        let prepared = Prepared { text, columns: self.columns.load(Ordering::Relaxed) };
        if name.is_empty() {
            self.unnamed = Some(prepared);
        } else if self.named.contains_key(name) {
            let name = text_of(parse.name);
            return Err(error("42P05", &format!("prepared statement \"{name}\" already exists")));
        } else {
            self.named.insert(name.to_vec(), prepared);
        }
        self.say(backend::PARSE_COMPLETE, b"");
        Ok(())
    }

    fn statement(&self, name: &[u8]) -> Result<Prepared, Failed> {
        let found = if name.is_empty() { self.unnamed.clone() } else { self.named.get(Names::key(name)).cloned() };
        found.ok_or_else(|| match text_of(name).as_str() {
            "" => error("26000", "unnamed prepared statement does not exist"),
            name => error("26000", &format!("prepared statement \"{name}\" does not exist")),
        })
    }

    pub(super) fn bind(&mut self, body: &[u8]) -> Result<(), Failed> {
        let bind = Bind::read(body).map_err(malformed)?;
        assert_eq!(body.len(), bind.names_len() + 6, "a Bind keeps its values");
        self.start();
        let prepared = self.statement(bind.statement)?;
        self.refuse_in_failed(&prepared.text)?;
        if bind.portal.is_empty() {
            self.portals.remove(bind.portal);
        } else if self.portals.contains_key(bind.portal) {
            return Err(error("42P03", "cursor already exists"));
        }
        self.check_columns(&prepared)?;
        if prepared.text.contains("needy") {
            let name = text_of(bind.statement);
            return Err(error("08P01", &format!("none are here, but prepared statement \"{name}\" requires 1")));
        }
        self.portals.insert(
            bind.portal.to_vec(),
            Portal { text: prepared.text, columns: prepared.columns, sent: 0, done: false },
        );
        self.say(backend::BIND_COMPLETE, b"");
        Ok(())
    }

    pub(super) fn describe(&mut self, body: &[u8]) -> Result<(), Failed> {
        self.start();
        let (text, columns) = match Target::read(client::DESCRIBE, body).map_err(malformed)? {
            Target::Statement(name) => {
                let prepared = self.statement(name)?;
                if returns_rows(&prepared.text) {
                    self.refuse_in_failed(&prepared.text)?;
                }
                self.say(backend::PARAMETER_DESCRIPTION, b"\0\0");
                self.check_columns(&prepared)?;
                (prepared.text, prepared.columns)
            }
            Target::Portal(name) => match self.portals.get(name) {
                Some(portal) => (portal.text.clone(), portal.columns),
                None => return Err(error("34000", "portal does not exist")),
            },
        };
        if returns_rows(&text) {
            self.say_columns(columns);
        } else {
            self.say(backend::NO_DATA, b"");
        }
        Ok(())
    }

    /// A plan must not change its result.
    fn check_columns(&self, prepared: &Prepared) -> Result<(), Failed> {
        let same = !returns_rows(&prepared.text) || prepared.columns == self.columns.load(Ordering::Relaxed);
        if same { Ok(()) } else { Err(Failed(reports::stale().into())) }
    }

    pub(super) fn say_columns(&mut self, count: u16) {
        let columns = b"c\0\0\0\0\x01\0\x01\0\0\0\x17\0\x04\0\0\0\0\0\0".repeat(count.into());
        self.say(backend::ROW_DESCRIPTION, &[&count.to_be_bytes()[..], &columns].concat());
    }

    pub(super) fn close(&mut self, body: &[u8]) -> Result<(), Failed> {
        match Target::read(client::CLOSE, body).map_err(malformed)? {
            Target::Statement(b"") => self.unnamed = None,
            Target::Statement(name) => drop(self.named.remove(Names::key(name))),
            Target::Portal(name) => drop(self.portals.remove(name)),
        }
        self.say(backend::CLOSE_COMPLETE, b"");
        Ok(())
    }

    pub(super) fn execute(&mut self, body: &[u8]) -> Result<(), Failed> {
        let (name, limit) = view::split_cstr(body).expect("an execute");
        let limit = u32::from_be_bytes(limit.try_into().expect("a limit"));
        self.start();
        let Some(portal) = self.portals.get(name) else { return Err(error("34000", "portal does not exist")) };
        let (text, sent) = (portal.text.clone(), portal.sent);
        if text.is_empty() {
            self.say(backend::EMPTY_QUERY_RESPONSE, b"");
            return Ok(());
        }
        self.refuse_in_failed(&text)?;
        if portal.done && !returns_rows(&text) {
            return Err(error("55000", "portal cannot be run"));
        }
        let outcome = self.run(&text, limit, sent)?;
        self.alone = false;
        if let Some(portal) = self.portals.get_mut(name) {
            portal.done = true;
            if let Outcome::Rows(sent) = outcome {
                portal.sent = sent;
            }
        }
        if matches!(outcome, Outcome::CopyIn) {
            self.copying = Some(Copying::Execute);
            if text == "copy view stdin" {
                return Err(error("42809", "cannot copy to view"));
            }
        }
        Ok(())
    }

    pub(super) fn function_call(&mut self, body: &[u8]) -> Result<(), Failed> {
        self.start();
        let text = text_of(body);
        self.refuse_in_failed(&text)?;
        if text.contains("boom") {
            return Err(error("22012", "boom"));
        }
        self.say(backend::FUNCTION_CALL_RESPONSE, b"\xff\xff\xff\xff");
        self.end_statement()
    }
}
