//! What sessions do, step by step, and how it is written down: as bytes for a server, as a wire script for people.

use std::fmt::Write as _;

use bytes::Bytes;

use crate::harness::frame;

/// One message of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// One Query of these statements.
    Query(Vec<String>),
    Parse {
        name: String,
        sql: String,
    },
    Bind {
        portal: String,
        statement: String,
        values: Vec<Option<String>>,
    },
    DescribeStatement(String),
    DescribePortal(String),
    Execute {
        portal: String,
        limit: u32,
    },
    CloseStatement(String),
    ClosePortal(String),
    Sync,
}

/// What one session does while all others wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// Sends these in one write, and reads up to the ReadyForQuery of each Query and Sync.
    Say(Vec<Message>),
    /// Leaves, and comes again.
    Reconnect,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub session: usize,
    pub deed: Deed,
}

/// Who takes part: the sessions' user and startup parameters, and the backends they share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    pub user: &'static str,
    pub startups: Vec<Vec<(&'static str, &'static str)>>,
    pub backends: usize,
    /// Sessions that keep a backend free it as soon as nothing keeps it any more, so that there may be fewer backends.
    pub frees: bool,
    /// They ask for values that they have drawn from sequences: the pool knows before they begin.
    pub asks_drawn: bool,
}

/// Statements of one Query as its text.
pub fn joined(statements: &[String]) -> String {
    statements.join("; ")
}

impl Message {
    fn bytes(&self, pids: &[(&str, String)]) -> Vec<u8> {
        let with_pids = |sql: &str| pids.iter().fold(sql.to_owned(), |sql, (name, pid)| sql.replace(name, pid));
        match self {
            Self::Query(statements) => frame::query(&with_pids(&joined(statements))),
            Self::Parse { name, sql } => frame::parse(name, &with_pids(sql), &[]),
            Self::Bind { portal, statement, values } => {
                let values: Vec<_> = values.iter().map(|value| value.clone().map(Bytes::from)).collect();
                frame::bind_with(portal, statement, &[], &values, &[])
            }
            Self::DescribeStatement(name) => frame::named(b'D', b'S', name),
            Self::DescribePortal(name) => frame::named(b'D', b'P', name),
            Self::Execute { portal, limit } => frame::execute(portal, *limit),
            Self::CloseStatement(name) => frame::named(b'C', b'S', name),
            Self::ClosePortal(name) => frame::named(b'C', b'P', name),
            Self::Sync => frame::sync(),
        }
    }

    /// Whether a ReadyForQuery ends its answer.
    pub fn is_answered_by_ready(&self) -> bool {
        matches!(self, Self::Query(_) | Self::Sync)
    }

    /// As the wire scripts of `tests/wire` write it.
    fn script(&self) -> String {
        match self {
            Self::Query(statements) => format!("Query {}", quoted(&joined(statements))),
            Self::Parse { name, sql } => format!("Parse {} {}", quoted(name), quoted(sql)),
            Self::Bind { portal, statement, values } => {
                let values = values.iter().map(|value| value.as_deref().map_or_else(|| "null".to_owned(), quoted));
                let values = values.collect::<Vec<_>>().join(" ");
                format!("Bind {} {} [{values}]", quoted(portal), quoted(statement))
            }
            Self::DescribeStatement(name) => format!("DescribeStatement {}", quoted(name)),
            Self::DescribePortal(name) => format!("DescribePortal {}", quoted(name)),
            Self::Execute { portal, limit } => format!("Execute {} {limit}", quoted(portal)),
            Self::CloseStatement(name) => format!("CloseStatement {}", quoted(name)),
            Self::ClosePortal(name) => format!("ClosePortal {}", quoted(name)),
            Self::Sync => "Sync".to_owned(),
        }
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// `a` for the first session.
pub fn letter(session: usize) -> char {
    char::from(b'a' + u8::try_from(session).expect("few sessions"))
}

impl Step {
    /// How many ReadyForQuery end its answer.
    pub fn answers(&self) -> usize {
        match &self.deed {
            Deed::Say(messages) => messages.iter().filter(|message| message.is_answered_by_ready()).count(),
            Deed::Reconnect => 0,
        }
    }

    /// What is sent; `pids` are process ids by the words that stand for them.
    pub fn bytes(&self, pids: &[(&str, String)]) -> Vec<u8> {
        match &self.deed {
            Deed::Say(messages) => messages.iter().flat_map(|message| message.bytes(pids)).collect(),
            Deed::Reconnect => frame::terminate(),
        }
    }

    /// Whether it asks what the process of the next session holds.
    pub fn asks_of_next(&self) -> bool {
        let named = |sql: &str| sql.contains("pg_locks") && sql.contains("{pid:next}");
        let Deed::Say(messages) = &self.deed else { return false };
        messages.iter().any(|message| match message {
            Message::Query(statements) => statements.iter().any(|sql| named(sql)),
            Message::Parse { sql, .. } => named(sql),
            _ => false,
        })
    }

    fn script(&self, cast: &Cast) -> String {
        let name = letter(self.session);
        match &self.deed {
            Deed::Say(messages) => {
                let said = messages.iter().map(Message::script).collect::<Vec<_>>().join("; ");
                let times = if self.answers() > 1 { format!(" {}", self.answers()) } else { String::new() };
                format!("{name}: {said}\n{name}: until ReadyForQuery{times}\n")
            }
            Deed::Reconnect => format!("{name}: Terminate\n{name}: end\n{}", connect(self.session, cast)),
        }
    }
}

fn connect(session: usize, cast: &Cast) -> String {
    let mut line = format!("{}: connect user={}", letter(session), cast.user);
    for (name, value) in &cast.startups[session] {
        let _ = write!(line, " {name}={}", quoted(value));
    }
    line + "\n"
}

/// The whole as a wire script; its tables and functions are those of `schema.sql`.
pub fn script(cast: &Cast, steps: &[Step]) -> String {
    let mut text = format!("backends {}\n", cast.backends);
    for session in 0..cast.startups.len() {
        if steps.iter().any(|step| step.session == session) {
            text.push_str(&connect(session, cast));
        }
    }
    for step in steps {
        text.push_str(&step.script(cast));
    }
    text
}
