//! What drivers say to any PostgreSQL, and take for granted: answered harmlessly, without meaning anything here.

use super::ask::{Asked, Asker, MOST_PARAMETERS};
use super::table::{Heading, Type, Value};
use super::tokens::Tokens;
use crate::config::Admin;
use crate::sql::TokenKind;
use crate::wire::build::Fault;

/// The PostgreSQL whose manners the console has, in front of the version of pgweir: drivers read the number.
const SERVER_VERSION: &str = concat!("17.0 (pgweir ", env!("CARGO_PKG_VERSION"), ")");

/// What a session is told at its beginning, and what SHOW answers for the same names.
pub(super) fn settings(asker: &Asker) -> Vec<(&'static str, String)> {
    let fixed = [
        ("server_version", SERVER_VERSION),
        ("server_encoding", "UTF8"),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("TimeZone", "UTC"),
        ("integer_datetimes", "on"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "off"),
        ("in_hot_standby", "off"),
        ("default_transaction_read_only", "off"),
    ];
    let mut settings: Vec<_> = fixed.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
    settings.push(("session_authorization", asker.user.clone()));
    settings.push(("application_name", asker.application.clone()));
    settings
}

/// SHOW of a setting, after the word SHOW; `None` if it is none that the console has.
pub(super) fn setting(mut tokens: Tokens<'_>, asker: &Asker) -> Option<Asked> {
    let (name, _) = tokens.name()?;
    let isolation = name == "transaction" && tokens.takes("ISOLATION") && tokens.takes("LEVEL");
    if !tokens.is_over() {
        return None;
    }
    let (name, value) = if isolation || name == "transaction_isolation" {
        ("transaction_isolation".to_owned(), "read committed".to_owned())
    } else {
        let known = settings(asker).into_iter().find(|(known, _)| known.eq_ignore_ascii_case(&name))?;
        (name, known.1)
    };
    Some(Asked::Select(vec![(Heading { name: name.into(), kind: Type::Text }, Value::Text(value))]))
}

/// Any command but SHOW; `None` if it is none of these.
///
/// # Errors
/// A SELECT of what the console does not have.
pub(super) fn read(mut tokens: Tokens<'_>, asker: &Asker) -> Result<Option<Asked>, Fault> {
    let Some((word, token)) = tokens.name().filter(|(_, token)| token.kind == TokenKind::Word) else {
        return Ok(None);
    };
    Ok(Some(match word.as_str() {
        "select" => {
            let answer = select(tokens, asker).or_else(|fault| of_catalogs(tokens).ok_or(fault));
            return answer.map(Some).map_err(|fault| fault.at(tokens.position(Some(token))));
        }
        "begin" | "start" => Asked::Begin,
        "commit" | "end" => Asked::Commit,
        "rollback" if tokens.takes("TO") => Asked::RollbackTo,
        "rollback" | "abort" => Asked::Rollback,
        "savepoint" => Asked::Quiet("SAVEPOINT"),
        "release" => Asked::Quiet("RELEASE"),
        "set" => Asked::Quiet("SET"),
        "reset" => Asked::Quiet("RESET"),
        "listen" => Asked::Quiet("LISTEN"),
        "unlisten" => Asked::Quiet("UNLISTEN"),
        "close" => Asked::Quiet("CLOSE CURSOR"),
        "discard" if tokens.takes("ALL") => Asked::Deallocate(None),
        "discard" => Asked::Quiet("DISCARD"),
        "deallocate" => {
            tokens.takes("PREPARE");
            if tokens.takes("ALL") { Asked::Deallocate(None) } else { Asked::Deallocate(tokens.name().map(|n| n.0)) }
        }
        _ => return Ok(None),
    }))
}

/// `SELECT 1`, `SELECT version(), current_user AS me`: literals and what drivers ask for, one row.
fn select(mut tokens: Tokens<'_>, asker: &Asker) -> Result<Asked, Fault> {
    let mut items = Vec::new();
    loop {
        let (name, kind, value) = item(&mut tokens, asker).ok_or_else(no_tables)?;
        // A cast to whatever type changes nothing that a driver would notice.
        while tokens.takes("::") {
            tokens.name();
        }
        let alias = if tokens.takes("AS") { tokens.name() } else { tokens.name().filter(|(name, _)| name != "from") };
        let name = alias.map_or(name, |(alias, _)| alias);
        items.push((Heading { name: name.into(), kind }, value));
        if !tokens.takes(",") {
            break;
        }
    }
    if tokens.is_over() { Ok(Asked::Select(items)) } else { Err(no_tables()) }
}

fn no_tables() -> Fault {
    Fault::error("0A000", "the console has no tables, and SELECT answers only what drivers ask for")
        .hint("SHOW HELP lists what the console answers.")
}

/// What drivers ask of PostgreSQL's catalogs, mostly for types: there is nothing in them here. `None` if it is about no
/// catalog.
fn of_catalogs(mut tokens: Tokens<'_>) -> Option<Asked> {
    let (mut depth, mut parameters, mut is_of_catalogs) = (0_usize, 0, false);
    let mut headings = Vec::new();
    let mut last_name = None;
    let mut in_list = true;
    while let Some(token) = tokens.peek() {
        let from = tokens.sees("FROM");
        if in_list && depth == 0 && (from || token.kind == TokenKind::Comma) {
            let name = last_name.take().unwrap_or_else(|| "?column?".to_owned());
            headings.push(Heading { name: name.into(), kind: Type::Text });
            in_list = !from;
        }
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth = depth.saturating_sub(1),
            TokenKind::Parameter => {
                let number = tokens.of(token).trim_start_matches('$').parse().unwrap_or(usize::MAX);
                parameters = number.max(parameters);
            }
            TokenKind::Word | TokenKind::Name if depth == 0 => last_name = tokens.clone().name().map(|(name, _)| name),
            _ => {}
        }
        tokens.take();
        is_of_catalogs |= from && tokens.clone().name().is_some_and(|(table, _)| is_catalog(&table));
    }
    (is_of_catalogs && parameters <= MOST_PARAMETERS).then_some(Asked::Nothing { headings, parameters })
}

fn is_catalog(name: &str) -> bool {
    name.starts_with("pg_") || name == "information_schema"
}

/// One expression: its name, type and value.
fn item(tokens: &mut Tokens<'_>, asker: &Asker) -> Option<(String, Type, Value)> {
    let unnamed = || "?column?".to_owned();
    if let Some((text, token)) = tokens.literal() {
        return Some(match token.kind {
            TokenKind::Text(_) => (unnamed(), Type::Text, Value::Text(text)),
            _ => match text.parse::<i32>() {
                Ok(number) => (unnamed(), Type::Int4, Value::Int(number.into())),
                Err(_) => (unnamed(), Type::Float8, Type::Float8.read(&text)?),
            },
        });
    }
    let (mut name, _) = tokens.name()?;
    if tokens.takes(".") {
        name = tokens.name().filter(|_| name == "pg_catalog")?.0;
    }
    let mut argument = None;
    if tokens.takes("(") {
        argument = tokens.literal().map(|(text, _)| text);
        if !tokens.takes(")") {
            return None;
        }
    }
    let text = |text: &str| Some((Type::Text, Value::text(text)));
    let (kind, value) = match name.as_str() {
        "true" | "false" => Some((Type::Bool, Value::Bool(name == "true"))),
        "null" => Some((Type::Text, Value::Null)),
        "version" => text(&format!("PostgreSQL {SERVER_VERSION}")),
        "current_database" | "current_catalog" => text(Admin::DATABASE),
        "current_schema" => text("pgweir"),
        "current_user" | "session_user" | "user" => text(&asker.user),
        "pg_is_in_recovery" => Some((Type::Bool, Value::Bool(false))),
        // A void is an empty text to whoever reads it.
        "pg_advisory_unlock_all" => text(""),
        "current_setting" => {
            let name = argument?;
            let known = settings(asker).into_iter().find(|(known, _)| known.eq_ignore_ascii_case(&name))?;
            text(&known.1)
        }
        _ => None,
    }?;
    Some((name, kind, value))
}
