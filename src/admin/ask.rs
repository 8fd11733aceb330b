//! What a client of the console asks: a text becomes an [`Asked`], or an error that names what was expected.

use super::condition::{Comparison, Condition, Operand, no_such_value, place};
use super::courtesy;
use super::reports::Report;
use super::table::{Column, Heading, Type, Value};
use super::tokens::{INVALID_TEXT, SYNTAX_ERROR, Tokens, UNDEFINED_COLUMN};
use crate::config::nearest;
use crate::sql::{Lexer, Lexing, Token, TokenKind};
use crate::wire::build::Fault;
use crate::wire::sqlstate;

/// How deep parentheses and NOT may nest.
const DEEPEST: usize = 32;
/// Parameters that one command may have.
pub(super) const MOST_PARAMETERS: usize = 1000;

/// One command.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Asked {
    Begin,
    Commit,
    /// `None` is all of them.
    Deallocate(Option<String>),
    Empty,
    /// What a driver asks of catalogs: no rows.
    Nothing {
        headings: Vec<Heading>,
        parameters: usize,
    },
    /// What a driver says and nobody minds, with the tag that it is answered by.
    Quiet(&'static str),
    Rollback,
    /// Of a savepoint. Nothing can be undone here, but a failed transaction goes on.
    RollbackTo,
    /// What a driver asks of any PostgreSQL: one row.
    Select(Vec<(Heading, Value)>),
    Show(Box<Show>),
}

/// SHOW, with its clauses.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Show {
    pub(super) report: Report,
    /// The beginning of a digest, for the report on one pattern.
    pub(super) digest: Option<String>,
    /// How far back, as a text with a unit.
    pub(super) since: Option<Operand>,
    /// Places of the columns that are answered.
    pub(super) columns: Vec<usize>,
    pub(super) condition: Option<Condition>,
    /// Places of columns, and whether the greatest comes first; empty is the report's own order.
    pub(super) order: Vec<(usize, bool)>,
    pub(super) limit: Option<Operand>,
    pub(super) parameters: usize,
}

/// Whoever asks, as far as answers depend on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asker {
    pub(super) user: String,
    pub(super) application: String,
}

impl Asked {
    /// The columns of the answer, if it has rows.
    pub(super) fn headings(&self) -> Option<Vec<Heading>> {
        match self {
            Self::Select(items) => Some(items.iter().map(|(heading, _)| heading.clone()).collect()),
            Self::Show(show) => Some(show.headings()),
            Self::Nothing { headings, .. } => Some(headings.clone()),
            _ => None,
        }
    }

    pub(super) fn parameters(&self) -> usize {
        match self {
            Self::Show(show) => show.parameters,
            Self::Nothing { parameters, .. } => *parameters,
            _ => 0,
        }
    }
}

impl Show {
    pub(super) fn headings(&self) -> Vec<Heading> {
        let all = self.report.columns();
        self.columns.iter().filter_map(|place| all.get(*place)).map(Column::heading).collect()
    }
}

/// The commands of a text, without the semicolons between them, each with the number of characters before it.
pub(super) fn commands(text: &str) -> Vec<(usize, &str)> {
    let ends = Lexer::new(text.as_bytes(), Lexing::default()).filter(|token| token.kind == TokenKind::Semicolon);
    let mut commands = Vec::new();
    let mut start = 0;
    for (end, next) in ends.map(|token| (token.start, token.end)).chain([(text.len(), text.len())]) {
        if let Some(command) = text.get(start..end)
            && !Tokens::new(command, 0).is_over()
        {
            commands.push((text.get(..start).map_or(0, |before| before.chars().count()), command));
        }
        start = next;
    }
    commands
}

/// Reads one command; `before` characters stand before it in the client's text.
///
/// # Errors
/// What is wrong with it, at which character, and what was expected.
pub(super) fn read(text: &str, before: usize, asker: &Asker) -> Result<Asked, Fault> {
    let mut tokens = Tokens::new(text, before);
    if tokens.is_over() {
        return Ok(Asked::Empty);
    }
    if tokens.takes("SHOW") {
        return show(tokens, asker);
    }
    match courtesy::read(tokens, asker)? {
        Some(asked) => Ok(asked),
        None => {
            let fault = tokens.expected("SHOW", &["SHOW"]);
            Err(if fault.hint.is_some() { fault } else { fault.hint("SHOW HELP lists what the console answers.") })
        }
    }
}

fn show(mut tokens: Tokens<'_>, asker: &Asker) -> Result<Asked, Fault> {
    let Some(report) = Report::ALL.into_iter().find(|report| report.names().iter().any(|name| tokens.sees(name)))
    else {
        return courtesy::setting(tokens, asker).ok_or_else(|| {
            let names: Vec<&str> = Report::ALL.iter().flat_map(|report| report.names()).copied().collect();
            let fault = tokens.expected("the name of a report", &names);
            if fault.hint.is_some() { fault } else { fault.hint(format!("Reports are {}.", listed(Report::ALL))) }
        });
    };
    tokens.take();
    let mut clauses = Clauses { tokens, report, depth: 0, parameters: 0 };
    clauses.read().map(|show| Asked::Show(Box::new(show)))
}

fn listed(reports: impl IntoIterator<Item = Report>) -> String {
    reports.into_iter().map(Report::name).collect::<Vec<_>>().join(", ")
}

/// What follows the name of a report.
struct Clauses<'a> {
    tokens: Tokens<'a>,
    report: Report,
    depth: usize,
    parameters: usize,
}

impl Clauses<'_> {
    fn read(&mut self) -> Result<Show, Fault> {
        let digest = if self.report == Report::Query { Some(self.digest()?) } else { None };
        let columns = self.columns()?;
        let since = self.since()?;
        let condition = if self.tokens.takes("WHERE") { Some(self.any()?) } else { None };
        let order = self.order()?;
        let limit = self.limit()?;
        if !self.tokens.is_over() {
            return Err(self.tokens.expected(
                &self.what_may_follow(since.is_some(), condition.is_some(), &order),
                &["SINCE", "WHERE", "AND", "ORDER", "LIMIT"],
            ));
        }
        let parameters = self.parameters;
        Ok(Show { report: self.report, digest, since, columns, condition, order, limit, parameters })
    }

    fn what_may_follow(&self, since: bool, condition: bool, order: &[(usize, bool)]) -> String {
        let mut words = Vec::new();
        if !order.is_empty() {
            words.push("a comma");
        } else if condition {
            words.extend(["AND", "OR", "ORDER BY"]);
        } else {
            if self.report.has_spans() && !since {
                words.push("SINCE");
            }
            words.extend(["WHERE", "ORDER BY"]);
        }
        format!("{}, LIMIT or the end", words.join(", "))
    }

    fn digest(&mut self) -> Result<String, Fault> {
        let here = self.tokens;
        let wanted = || here.expected("the digest of a pattern, or its beginning", &[]);
        let digest = self.tokens.bare().ok_or_else(wanted)?.to_ascii_lowercase();
        if digest.is_empty() || digest.len() > 16 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wanted().hint("A digest has up to 16 hexadecimal digits; SHOW QUERIES lists them."));
        }
        Ok(digest)
    }

    /// `(a, b)`, `(*)` for all, or nothing for those that are shown by default.
    fn columns(&mut self) -> Result<Vec<usize>, Fault> {
        let all = self.report.columns();
        if !self.tokens.takes("(") {
            return Ok(all.iter().enumerate().filter(|(_, column)| column.shown).map(|(place, _)| place).collect());
        }
        let mut chosen = Vec::new();
        loop {
            if self.tokens.takes("*") {
                chosen.extend(0..all.len());
            } else {
                chosen.push(self.column()?.0);
            }
            if self.tokens.takes(")") {
                return Ok(chosen);
            }
            if !self.tokens.takes(",") {
                return Err(self.tokens.expected("a comma or )", &[]));
            }
        }
    }

    fn since(&mut self) -> Result<Option<Operand>, Fault> {
        if !self.report.has_spans() || !self.tokens.takes("SINCE") {
            return Ok(None);
        }
        let here = self.tokens;
        let operand = self.operand(Type::Text)?;
        match &operand {
            Operand::Value(Value::Text(text)) if humantime::parse_duration(text).is_err() => {
                Err(no_such_span(text).at(here.position(here.peek())))
            }
            _ => Ok(Some(operand)),
        }
    }

    fn order(&mut self) -> Result<Vec<(usize, bool)>, Fault> {
        let mut order = Vec::new();
        if !self.tokens.takes("ORDER") {
            return Ok(order);
        }
        self.tokens.expect("BY")?;
        loop {
            let (place, _) = self.column()?;
            let descending = self.tokens.takes("DESC");
            if !descending {
                self.tokens.takes("ASC");
            }
            order.push((place, descending));
            if !self.tokens.takes(",") {
                return Ok(order);
            }
        }
    }

    fn limit(&mut self) -> Result<Option<Operand>, Fault> {
        if !self.tokens.takes("LIMIT") || self.tokens.takes("ALL") {
            return Ok(None);
        }
        let here = self.tokens;
        let operand = self.operand(Type::Int8)?;
        match operand {
            Operand::Value(Value::Int(0..)) | Operand::Parameter(..) => Ok(Some(operand)),
            _ => Err(here.expected("a number of rows", &[])),
        }
    }

    // === conditions ===

    fn any(&mut self) -> Result<Condition, Fault> {
        let mut parts = vec![self.all()?];
        while self.tokens.takes("OR") {
            parts.push(self.all()?);
        }
        Ok(one_or(parts, Condition::Any))
    }

    fn all(&mut self) -> Result<Condition, Fault> {
        let mut parts = vec![self.part()?];
        while self.tokens.takes("AND") {
            parts.push(self.part()?);
        }
        Ok(one_or(parts, Condition::All))
    }

    fn part(&mut self) -> Result<Condition, Fault> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(Fault::error(sqlstate::PROGRAM_LIMIT_EXCEEDED, "the condition is nested too deeply")
                .detail(format!("The console takes {DEEPEST} levels.")));
        }
        let part = if self.tokens.takes("NOT") {
            Condition::Not(Box::new(self.part()?))
        } else if self.tokens.takes("(") {
            let inner = self.any()?;
            self.tokens.expect(")")?;
            inner
        } else {
            self.comparison()?
        };
        self.depth -= 1;
        Ok(part)
    }

    fn comparison(&mut self) -> Result<Condition, Fault> {
        let (column, kind) = self.column()?;
        if self.tokens.takes("IS") {
            let not = self.tokens.takes("NOT");
            self.tokens.expect("NULL")?;
            return Ok(negated(not, Condition::IsNull { column }));
        }
        let not = self.tokens.takes("NOT");
        for (word, any_case) in [("LIKE", false), ("ILIKE", true)] {
            if self.tokens.takes(word) {
                let pattern = self.operand(Type::Text)?;
                return Ok(negated(not, Condition::Like { column, pattern, any_case }));
            }
        }
        if self.tokens.takes("IN") {
            self.tokens.expect("(")?;
            let mut list = vec![self.operand(kind)?];
            while self.tokens.takes(",") {
                list.push(self.operand(kind)?);
            }
            self.tokens.expect(")")?;
            return Ok(negated(not, Condition::In { column, list }));
        }
        let signs = self.tokens.peek().map(|token| self.tokens.of(token)).unwrap_or_default();
        let Some(comparison) = Comparison::read(signs).filter(|_| !not) else {
            return Err(self.tokens.expected("one of = <> < <= > >= LIKE IN IS", &["LIKE", "ILIKE", "IN", "IS"]));
        };
        self.tokens.take();
        Ok(Condition::Compare { column, comparison, with: self.compared(kind)? })
    }

    fn column(&mut self) -> Result<(usize, Type), Fault> {
        let columns = self.report.columns();
        let here = self.tokens;
        let Some((name, token)) = self.tokens.name() else { return Err(here.expected("a column", &[])) };
        match place(columns, &name).and_then(|place| Some((place, columns.get(place)?.kind))) {
            Some(found) => Ok(found),
            None => Err(self.no_such_column(&name, token)),
        }
    }

    fn no_such_column(&self, name: &str, token: Token) -> Fault {
        let names = self.report.columns().iter().map(|column| column.name);
        let fault = Fault::error(UNDEFINED_COLUMN, format!("column \"{name}\" does not exist"))
            .at(self.tokens.position(Some(token)))
            .detail(format!("Columns of {} are {}.", self.report.name(), names.clone().collect::<Vec<_>>().join(", ")));
        match nearest(name, names) {
            Some(near) => fault.hint(format!("Perhaps you meant {near}.")),
            None => fault,
        }
    }

    /// What a column of the type is compared with: another one, a literal or a parameter.
    fn compared(&mut self, kind: Type) -> Result<Operand, Fault> {
        let mut ahead = self.tokens;
        let columns = self.report.columns();
        let other = ahead.name().and_then(|(name, _)| place(columns, &name));
        match other.filter(|place| columns.get(*place).is_some_and(|column| column.kind == kind)) {
            Some(place) => {
                self.tokens = ahead;
                Ok(Operand::Column(place))
            }
            None => self.operand(kind),
        }
    }

    /// A literal of the type, or a parameter.
    fn operand(&mut self, kind: Type) -> Result<Operand, Fault> {
        let here = self.tokens;
        if let Some(token) = here.peek().filter(|token| token.kind == TokenKind::Parameter) {
            let number = here.of(token).trim_start_matches('$').parse::<usize>().ok();
            let index = number.and_then(|number| number.checked_sub(1)).filter(|index| *index < MOST_PARAMETERS);
            let Some(index) = index else {
                return Err(Fault::error("42P02", format!("there is no parameter {}", here.of(token)))
                    .at(here.position(Some(token))));
            };
            self.tokens.take();
            self.parameters = self.parameters.max(index + 1);
            return Ok(Operand::Parameter(index, kind));
        }
        if let Some((word, _)) = self.tokens.name().filter(|_| kind == Type::Bool)
            && let Some(value) = kind.read(&word)
        {
            return Ok(Operand::Value(value));
        }
        self.tokens = here;
        let Some((text, token)) = self.tokens.literal() else {
            return Err(
                here.expected("a number, a text in single quotes, a parameter or a column of the same type", &[])
            );
        };
        let value = kind.read(&text).ok_or_else(|| no_such_value(kind, &text).at(here.position(Some(token))))?;
        Ok(Operand::Value(value))
    }
}

fn one_or(mut parts: Vec<Condition>, many: impl FnOnce(Vec<Condition>) -> Condition) -> Condition {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        last => {
            parts.extend(last);
            many(parts)
        }
    }
}

fn negated(not: bool, condition: Condition) -> Condition {
    if not { Condition::Not(Box::new(condition)) } else { condition }
}

/// A text after SINCE that is no span of time.
pub(super) fn no_such_span(text: &str) -> Fault {
    Fault::error(INVALID_TEXT, format!("invalid span of time: \"{text}\""))
        .hint("A span has a unit: '15m', '1h', '1h 30m', '1d'.")
}

/// Text that is not in UTF-8, which is all that the console speaks.
pub(super) fn not_utf8() -> Fault {
    Fault::error("22021", "the console reads UTF-8 only")
}

/// Several commands where the protocol takes one.
pub(super) fn several_commands() -> Fault {
    Fault::error(SYNTAX_ERROR, "cannot insert multiple commands into a prepared statement")
}
