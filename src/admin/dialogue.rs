//! One session of the console, without I/O: frames in, frames out (manual: "Message Flow").

use std::collections::HashMap;
use std::sync::Arc;
use std::vec::IntoIter;

use super::ask::{self, Asked, Asker, Show};
use super::reports::{Row, Wanted};
use super::table::{Heading, Type, Value};
use super::{Console, Rights};
use crate::wire::build::{self, Fault};
use crate::wire::portal::{Formats, WholeBind, execute};
use crate::wire::result::{self, BIND_COMPLETE, EMPTY_QUERY_RESPONSE, NO_DATA, PORTAL_SUSPENDED};
use crate::wire::tag::client;
use crate::wire::view::{Parse, Target, Transaction, query_text, split_cstr};
use crate::wire::{Malformed, sqlstate};

/// Portals that a session may have open, each with a whole result.
const PORTALS: usize = 16;

/// Whether a session goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Goes,
    Ended,
}

/// A client's statements, portals and transaction.
#[derive(Debug)]
pub(super) struct Dialogue {
    console: Arc<Console>,
    rights: Rights,
    asker: Asker,
    statements: HashMap<Vec<u8>, Arc<Statement>>,
    portals: HashMap<Vec<u8>, Portal>,
    transaction: Transaction,
    /// After an error in the extended protocol, up to the next Sync.
    skips: bool,
}

/// What Parse made.
#[derive(Debug)]
struct Statement {
    asked: Asked,
    /// Types of its parameters.
    parameters: Vec<u32>,
}

/// What Bind made.
#[derive(Debug)]
struct Portal {
    statement: Arc<Statement>,
    values: Vec<Option<String>>,
    formats: Formats,
    /// Rows that were not sent yet; `None` before the first Execute.
    rows: Option<IntoIter<Row>>,
}

impl Dialogue {
    pub(super) fn new(console: Arc<Console>, rights: Rights, user: &str, application: &str) -> Self {
        Self {
            console,
            rights,
            asker: Asker { user: user.to_owned(), application: application.to_owned() },
            statements: HashMap::new(),
            portals: HashMap::new(),
            transaction: Transaction::Idle,
            skips: false,
        }
    }

    /// Answers one frame, into `out`.
    ///
    /// # Errors
    /// What is no message of the protocol.
    pub(super) fn frame(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) -> Result<Next, Malformed> {
        match tag {
            client::TERMINATE => return Ok(Next::Ended),
            client::SYNC => {
                self.skips = false;
                self.ready(out);
            }
            _ if self.skips => {}
            client::QUERY => self.query(query_text(body), out),
            client::FLUSH | client::COPY_DATA | client::COPY_DONE | client::COPY_FAIL => {}
            client::FUNCTION_CALL => {
                let fault = Fault::error(sqlstate::FEATURE_NOT_SUPPORTED, "the console has no functions to call");
                self.fail(&fault, out);
                self.ready(out);
            }
            client::PARSE | client::BIND | client::DESCRIBE | client::EXECUTE | client::CLOSE => {
                if let Err(fault) = self.extended(tag, body, out)? {
                    self.fail(&fault, out);
                    self.skips = true;
                }
            }
            _ => return Err(Malformed::Contents { tag }),
        }
        Ok(Next::Goes)
    }

    fn extended(&mut self, tag: u8, body: &[u8], out: &mut Vec<u8>) -> Result<Result<(), Fault>, Malformed> {
        Ok(match tag {
            client::PARSE => self.parse(&Parse::read(body)?, out),
            client::BIND => self.bind(WholeBind::read(body)?, out),
            client::DESCRIBE => self.describe(Target::read(tag, body)?, out),
            client::EXECUTE => {
                let (portal, most) = execute(body)?;
                self.execute(portal, most, out)
            }
            _ => {
                match Target::read(tag, body)? {
                    Target::Portal(name) => drop(self.portals.remove(name)),
                    Target::Statement(name) => drop(self.statements.remove(name)),
                }
                out.extend_from_slice(&build::CLOSE_COMPLETE);
                Ok(())
            }
        })
    }

    /// An error, which fails the transaction if one is open.
    fn fail(&mut self, fault: &Fault, out: &mut Vec<u8>) {
        out.extend_from_slice(&fault.to_frame());
        if self.transaction == Transaction::Open {
            self.transaction = Transaction::Failed;
        }
    }

    /// ReadyForQuery; portals do not outlive their transaction.
    fn ready(&mut self, out: &mut Vec<u8>) {
        if self.transaction == Transaction::Idle {
            self.portals.clear();
        }
        out.extend_from_slice(&build::ready_for_query(self.transaction));
    }

    // === simple protocol ===

    fn query(&mut self, text: &[u8], out: &mut Vec<u8>) {
        self.statements.remove(&b""[..]);
        self.portals.remove(&b""[..]);
        if let Err(fault) = self.commands(text, out) {
            self.fail(&fault, out);
        }
        self.ready(out);
    }

    fn commands(&mut self, text: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
        let text = std::str::from_utf8(text).map_err(|_| ask::not_utf8())?;
        let commands = ask::commands(text);
        if commands.is_empty() {
            out.extend_from_slice(&EMPTY_QUERY_RESPONSE);
        }
        for (before, command) in commands {
            let asked = ask::read(command, before, &self.asker)?;
            self.may_run(&asked)?;
            let Some(headings) = asked.headings() else {
                self.perform(&asked, out);
                continue;
            };
            self.notice(&asked, out);
            let rows = self.rows(&asked, &[])?;
            let formats = Formats::default();
            describe_rows(&headings, &formats, out);
            let sent = rows.len();
            rows.into_iter().for_each(|row| write_row(&row, &headings, &formats, out));
            result::command_complete(out, &format!("SELECT {sent}"));
        }
        Ok(())
    }

    /// # Errors
    /// The transaction has failed, and this does not end it.
    fn may_run(&self, asked: &Asked) -> Result<(), Fault> {
        let ends = matches!(asked, Asked::Commit | Asked::Rollback | Asked::RollbackTo | Asked::Empty);
        if self.transaction == Transaction::Failed && !ends {
            return Err(Fault::error(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }

    /// Does what has no rows, and says that it is done.
    fn perform(&mut self, asked: &Asked, out: &mut Vec<u8>) {
        let tag = match asked {
            Asked::Begin => {
                self.transaction = Transaction::Open;
                "BEGIN"
            }
            Asked::Commit | Asked::Rollback => {
                let undone = self.transaction == Transaction::Failed || *asked == Asked::Rollback;
                self.transaction = Transaction::Idle;
                if undone { "ROLLBACK" } else { "COMMIT" }
            }
            Asked::Deallocate(Some(name)) => {
                self.statements.remove(name.as_bytes());
                "DEALLOCATE"
            }
            Asked::Deallocate(None) => {
                self.statements.clear();
                "DEALLOCATE ALL"
            }
            Asked::RollbackTo => {
                if self.transaction == Transaction::Failed {
                    self.transaction = Transaction::Open;
                }
                "ROLLBACK"
            }
            Asked::Quiet(tag) => tag,
            Asked::Empty | Asked::Nothing { .. } | Asked::Select(_) | Asked::Show(_) => {
                return out.extend_from_slice(&EMPTY_QUERY_RESPONSE);
            }
        };
        result::command_complete(out, tag);
    }

    // === extended protocol ===

    fn parse(&mut self, parse: &Parse<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let text = std::str::from_utf8(parse.text).map_err(|_| ask::not_utf8())?;
        let asked = match ask::commands(text).as_slice() {
            [] => Asked::Empty,
            [(before, command)] => ask::read(command, *before, &self.asker)?,
            _ => return Err(ask::several_commands()),
        };
        self.may_run(&asked)?;
        if !parse.name.is_empty() && self.statements.contains_key(parse.name) {
            let name = String::from_utf8_lossy(parse.name);
            return Err(Fault::error(
                sqlstate::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{name}\" already exists"),
            ));
        }
        let limit = self.console.config.current().limits.client_statements;
        if self.statements.len() >= limit {
            return Err(Fault::error(sqlstate::PROGRAM_LIMIT_EXCEEDED, "too many prepared statements")
                .detail(format!("pgweir's limit is limits.client_statements = {limit}.")));
        }
        let declared = parse.types.get(2..).unwrap_or_default().as_chunks::<4>().0;
        let mut parameters: Vec<u32> = declared.iter().map(|oid| u32::from_be_bytes(*oid)).collect();
        parameters.resize(parameters.len().max(asked.parameters()), 0);
        // What is left to us is text: it can be compared with everything.
        parameters.iter_mut().filter(|oid| **oid == 0).for_each(|oid| *oid = Type::Text.oid());
        self.statements.insert(parse.name.to_vec(), Arc::new(Statement { asked, parameters }));
        out.extend_from_slice(&build::PARSE_COMPLETE);
        Ok(())
    }

    fn bind(&mut self, bind: WholeBind<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let statement = self.statement(bind.statement)?;
        if bind.values.len() != statement.parameters.len() {
            let (given, needed) = (bind.values.len(), statement.parameters.len());
            let message = format!("bind message supplies {given} parameters, but the statement requires {needed}");
            return Err(Fault::error(sqlstate::PROTOCOL_VIOLATION, message));
        }
        let mut values = Vec::new();
        for (index, (value, oid)) in bind.values.iter().zip(&statement.parameters).enumerate() {
            let read = |bytes| bound_text(bytes, *oid, bind.value_is_binary(index));
            values.push(value.map(read).transpose()?);
        }
        let name = bind.portal.to_vec();
        let formats = bind.into_result_formats();
        let columns = statement.asked.headings().map_or(0, |headings| headings.len());
        if !formats.fits(columns) {
            let message = format!("bind message has formats that do not fit the query's {columns} columns");
            return Err(Fault::error(sqlstate::PROTOCOL_VIOLATION, message));
        }
        if self.portals.len() >= PORTALS && !self.portals.contains_key(&name) {
            return Err(Fault::error(sqlstate::PROGRAM_LIMIT_EXCEEDED, "too many open portals")
                .detail(format!("The console keeps {PORTALS} for one client.")));
        }
        self.portals.insert(name, Portal { statement, values, formats, rows: None });
        out.extend_from_slice(&BIND_COMPLETE);
        Ok(())
    }

    fn statement(&self, name: &[u8]) -> Result<Arc<Statement>, Fault> {
        self.statements.get(name).map(Arc::clone).ok_or_else(|| {
            let name = String::from_utf8_lossy(name);
            Fault::error(sqlstate::INVALID_STATEMENT_NAME, format!("prepared statement \"{name}\" does not exist"))
        })
    }

    fn describe(&self, target: Target<'_>, out: &mut Vec<u8>) -> Result<(), Fault> {
        let unknown = Formats::default();
        let (statement, formats) = match target {
            Target::Statement(name) => {
                let statement = self.statement(name)?;
                result::parameter_description(out, &statement.parameters);
                (statement, &unknown)
            }
            Target::Portal(name) => {
                let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
                (Arc::clone(&portal.statement), &portal.formats)
            }
        };
        match statement.asked.headings() {
            Some(headings) => describe_rows(&headings, formats, out),
            None => out.extend_from_slice(&NO_DATA),
        }
        Ok(())
    }

    fn execute(&mut self, name: &[u8], most: usize, out: &mut Vec<u8>) -> Result<(), Fault> {
        let portal = self.portals.get(name).ok_or_else(|| no_portal(name))?;
        let statement = Arc::clone(&portal.statement);
        self.may_run(&statement.asked)?;
        let Some(headings) = statement.asked.headings() else {
            self.perform(&statement.asked, out);
            return Ok(());
        };
        let fresh = if portal.rows.is_none() {
            self.notice(&statement.asked, out);
            Some(self.rows(&statement.asked, &portal.values)?)
        } else {
            None
        };
        let Some(portal) = self.portals.get_mut(name) else { return Err(no_portal(name)) };
        let rows = portal.rows.get_or_insert_with(|| fresh.unwrap_or_default().into_iter());
        let mut sent = 0_usize;
        while most == 0 || sent < most {
            let Some(row) = rows.next() else { break };
            write_row(&row, &headings, &portal.formats, out);
            sent += 1;
        }
        if rows.len() > 0 {
            out.extend_from_slice(&PORTAL_SUSPENDED);
        } else {
            result::command_complete(out, &format!("SELECT {sent}"));
        }
        Ok(())
    }

    // === answers ===

    /// The rows of what has some, filtered, in order and cut.
    /// Says why an answer is going to be empty, if that is not for want of anything to tell.
    fn notice(&self, asked: &Asked, out: &mut Vec<u8>) {
        if let Asked::Show(show) = asked
            && let Some(why) = show.report.is_off(&self.console.config.current().insight)
        {
            out.extend_from_slice(&build::notice(why));
        }
    }

    fn rows(&self, asked: &Asked, bound: &[Option<String>]) -> Result<Vec<Row>, Fault> {
        match asked {
            Asked::Show(show) => self.show(show, bound),
            Asked::Select(items) => Ok(vec![items.iter().map(|(_, value)| value.clone()).collect()]),
            _ => Ok(Vec::new()),
        }
    }

    fn show(&self, show: &Show, bound: &[Option<String>]) -> Result<Vec<Row>, Fault> {
        let since = match show.since.as_ref().map(|since| since.bound(bound)).transpose()? {
            Some(Value::Text(text)) => Some(humantime::parse_duration(&text).map_err(|_| ask::no_such_span(&text))?),
            _ => None,
        };
        let condition = show.condition.as_ref().map(|condition| condition.bind(bound)).transpose()?;
        let limit = match show.limit.as_ref().map(|limit| limit.bound(bound)).transpose()? {
            Some(Value::Int(rows)) => {
                usize::try_from(rows).map_err(|_| Fault::error("2201W", "LIMIT must not be negative"))?
            }
            _ => usize::MAX,
        };
        let wanted = Wanted { rights: self.rights, since, digest: show.digest.as_deref().unwrap_or_default() };
        let mut rows = show.report.rows(&self.console, wanted)?;
        if let Some(condition) = condition {
            rows.retain(|row| condition.holds(row));
        }
        let own = show.report.greatest_first().and_then(|name| super::condition::place(show.report.columns(), name));
        let own: Vec<(usize, bool)> = own.map(|place| (place, true)).into_iter().collect();
        sort(&mut rows, if show.order.is_empty() { &own } else { &show.order });
        rows.truncate(limit);
        let chosen = |row: Row| -> Row {
            show.columns.iter().map(|place| row.get(*place).cloned().unwrap_or(Value::Null)).collect()
        };
        Ok(rows.into_iter().map(chosen).collect())
    }
}

/// By the first of the columns in which two rows differ. NULL comes last in either direction: here it means that
/// there is nothing to see.
fn sort(rows: &mut [Row], order: &[(usize, bool)]) {
    rows.sort_by(|a, b| {
        let one = |(place, descending): &(usize, bool)| {
            let (a, b) = (a.get(*place).unwrap_or(&Value::Null), b.get(*place).unwrap_or(&Value::Null));
            if *descending && *a != Value::Null && *b != Value::Null { b.sort(a) } else { a.sort(b) }
        };
        order.iter().map(one).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
}

fn no_portal(name: &[u8]) -> Fault {
    Fault::error("34000", format!("portal \"{}\" does not exist", String::from_utf8_lossy(name)))
}

fn describe_rows(headings: &[Heading], formats: &Formats, out: &mut Vec<u8>) {
    let fields = headings.iter().enumerate().map(|(place, heading)| heading.field(formats.is_binary(place)));
    result::row_description(out, fields);
}

fn write_row(row: &Row, headings: &[Heading], formats: &Formats, out: &mut Vec<u8>) {
    let written = row.iter().zip(headings).enumerate().map(|(place, (value, heading))| {
        if formats.is_binary(place) { value.to_binary(heading.kind) } else { value.to_text().map(String::into_bytes) }
    });
    result::data_row(out, written);
}

/// A bound value as text, from either format of the types that drivers bind to such commands.
fn bound_text(bytes: &[u8], oid: u32, binary: bool) -> Result<String, Fault> {
    let wrong = || Fault::error("22P03", "incorrect binary data format in bind parameter");
    if !binary {
        return std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ask::not_utf8());
    }
    Ok(match oid {
        16 => (if bytes.first().is_some_and(|byte| *byte != 0) { "true" } else { "false" }).to_owned(),
        20 => i64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).to_string(),
        21 => i16::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).to_string(),
        23 => i32::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).to_string(),
        700 => f32::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).to_string(),
        701 => f64::from_be_bytes(bytes.try_into().map_err(|_| wrong())?).to_string(),
        // text, varchar, name, unknown
        25 | 1043 | 19 | 705 => std::str::from_utf8(bytes).map_err(|_| ask::not_utf8())?.to_owned(),
        _ => {
            return Err(Fault::error(
                sqlstate::FEATURE_NOT_SUPPORTED,
                "a binary parameter of a type that the console does not read",
            )
            .hint("Bind it as text."));
        }
    })
}

/// Whether a Query's body ends as it must.
pub(super) fn is_text(body: &[u8]) -> bool {
    split_cstr(body).is_some_and(|(_, rest)| rest.is_empty())
}
