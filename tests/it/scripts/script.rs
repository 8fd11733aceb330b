//! The written form of a wire script and how it is read. `tests/wire/README.md` describes it for people.

use std::path::Path;

use bytes::Bytes;

use super::messages;
use super::tokens::{Token, split_messages, tokens};

/// A wire script.
#[derive(Debug, Default)]
pub struct Script {
    pub name: String,
    /// Backends that its sessions hold at once; pools of this many and of 5 are tried.
    pub backends: Option<usize>,
    /// SQL run once before everything, by a direct connection.
    pub setup: Vec<String>,
    /// SQL run before every pass.
    pub reset: Vec<String>,
    /// SQL run once after everything.
    pub teardown: Vec<String>,
    /// Letters of error and notice fields that may differ.
    pub ignored_fields: Vec<u8>,
    /// Names of frames whose bodies may differ.
    pub ignored_bodies: Vec<String>,
    /// Keys of pgweir's configuration that this script needs, with their TOML values.
    pub config: Vec<(String, String)>,
    pub steps: Vec<Step>,
}

/// One thing that a script does, and where it says so.
#[derive(Debug)]
pub struct Step {
    pub line: usize,
    pub action: Action,
}

#[derive(Debug)]
pub enum Action {
    /// Waits until this SQL, asked directly, answers true.
    Await(String),
    On(String, Deed),
}

/// What one connection does.
#[derive(Debug, Clone)]
pub enum Deed {
    /// Reads the single byte that answers SSLRequest or GSSENCRequest.
    Answer,
    /// Sends a cancel request for this connection.
    Cancel,
    /// Drops the socket.
    Close,
    /// Opens a socket, sends a startup packet with these parameters and reads up to the first ReadyForQuery.
    Connect(Vec<(String, String)>),
    /// Reads until the server closes.
    End,
    /// What was read since the last expectation must be this; `...` stands for any number of frames.
    Expect(Vec<String>),
    /// Opens a socket and says nothing.
    Open,
    Read(usize),
    Send {
        bytes: Bytes,
        pieces: Option<usize>,
    },
    Until {
        tag: u8,
        times: usize,
    },
}

/// Reads a script as it is for this major version of PostgreSQL; the error names the line.
pub fn load(path: &Path, version: i64) -> Result<Script, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
    let folder = name(path.parent().and_then(Path::file_name));
    read(&format!("{folder}/{}", name(path.file_name())), &text, version)
}

/// Reads the text of a script called `name`.
pub fn read(name: &str, text: &str, version: i64) -> Result<Script, String> {
    let mut script = Script { name: name.to_owned(), ..Script::default() };
    let mut lines = text.lines().enumerate();
    while let Some((index, first)) = lines.next() {
        let line = index + 1;
        let mut joined = first.trim().to_owned();
        while let Some(open) = joined.strip_suffix('\\') {
            let next = lines.next().map_or("", |(_, next)| next.trim());
            joined = format!("{}{next}", open.trim_end().to_owned() + " ");
        }
        if joined.ends_with('{') {
            let block: Vec<&str> =
                lines.by_ref().map(|(_, line)| line.trim()).take_while(|line| *line != "}").collect();
            let messages: Vec<&str> =
                block.into_iter().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
            joined = joined.trim_end_matches('{').to_owned() + &messages.join("; ");
        }
        if !joined.is_empty() && !joined.starts_with('#') {
            let at = |error| format!("{name}:{line}: {error}");
            if let Some(said) = for_version(&joined, version).map_err(at)? {
                script.line(line, said).map_err(at)?;
            }
        }
    }
    Ok(script)
}

/// What a line says to this major version of PostgreSQL: `since 18 …` and `before 18 …` are for some only.
fn for_version(line: &str, version: i64) -> Result<Option<&str>, String> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    if !matches!(word, "since" | "before") {
        return Ok(Some(line));
    }
    let (bound, said) = rest.split_once(' ').unwrap_or((rest, ""));
    let bound: i64 = bound.parse().map_err(|_| format!("{word} needs a major version"))?;
    Ok(Some(said).filter(|_| (word == "since") == (version >= bound)))
}

impl Script {
    fn line(&mut self, line: usize, text: &str) -> Result<(), String> {
        let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
        let rest = rest.trim();
        if let Some(connection) = word.strip_suffix(':') {
            let action = Action::On(connection.to_owned(), deed(rest)?);
            self.steps.push(Step { line, action });
            return Ok(());
        }
        match word {
            "backends" => self.backends = Some(rest.parse().map_err(|_| "backends needs a number")?),
            "setup" => self.setup.push(rest.to_owned()),
            "reset" => self.reset.push(rest.to_owned()),
            "teardown" => self.teardown.push(rest.to_owned()),
            "await" => self.steps.push(Step { line, action: Action::Await(rest.to_owned()) }),
            "config" => {
                let (key, value) = rest.split_once(' ').ok_or("config KEY VALUE")?;
                self.config.push((key.to_owned(), value.to_owned()));
            }
            "ignore" => self.ignore(rest)?,
            _ => return Err(format!("{word:?} is neither a directive nor a connection (\"a:\")")),
        }
        Ok(())
    }

    fn ignore(&mut self, rest: &str) -> Result<(), String> {
        match rest.split_once(' ') {
            Some(("fields", letters)) => {
                self.ignored_fields.extend(letters.bytes().filter(|byte| !byte.is_ascii_whitespace()));
            }
            Some(("body", name)) => self.ignored_bodies.push(name.to_owned()),
            _ => return Err("ignore fields LETTERS, or ignore body FRAME".to_owned()),
        }
        Ok(())
    }
}

fn deed(text: &str) -> Result<Deed, String> {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    Ok(match word {
        "answer" => Deed::Answer,
        "cancel" => Deed::Cancel,
        "close" => Deed::Close,
        "connect" => Deed::Connect(parameters(rest)?),
        "end" => Deed::End,
        "expect" => Deed::Expect(patterns(rest)?),
        "open" => Deed::Open,
        "read" => Deed::Read(rest.parse().map_err(|_| "read needs a number")?),
        "until" => until(rest)?,
        "drip" => Deed::Send { bytes: send(rest)?, pieces: Some(1) },
        "split" => {
            let (size, messages) = rest.split_once(' ').ok_or("split SIZE MESSAGES")?;
            let size = size.parse().map_err(|_| "split needs a size")?;
            Deed::Send { bytes: send(messages)?, pieces: Some(size) }
        }
        _ => Deed::Send { bytes: send(text)?, pieces: None },
    })
}

fn send(text: &str) -> Result<Bytes, String> {
    let mut bytes = Vec::new();
    for message in split_messages(text) {
        let tokens = tokens(message)?;
        let build = || -> Result<Vec<u8>, String> { messages::build(&tokens) };
        bytes.extend(build().map_err(|error| format!("{message}: {error}"))?);
    }
    Ok(bytes.into())
}

fn until(rest: &str) -> Result<Deed, String> {
    let (name, times) = rest.split_once(' ').unwrap_or((rest, "1"));
    let tag = messages::tag_named(name).ok_or_else(|| format!("no frame is called {name:?}"))?;
    Ok(Deed::Until { tag, times: times.trim().parse().map_err(|_| "until FRAME [TIMES]")? })
}

/// `name=value name="a value"`, with user and database `postgres` unless said.
fn parameters(rest: &str) -> Result<Vec<(String, String)>, String> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    let mut tokens = tokens(rest)?.into_iter();
    while let Some(token) = tokens.next() {
        let Token::Word(word) = token else { return Err("a parameter is name=value".to_owned()) };
        let (name, value) = word.split_once('=').ok_or("a parameter is name=value")?;
        let value = match value {
            "" => match tokens.next() {
                Some(Token::Text(text)) => String::from_utf8_lossy(&text).into_owned(),
                _ => return Err(format!("{name} has no value")),
            },
            value => value.to_owned(),
        };
        parameters.push((name.to_owned(), value));
    }
    for name in ["database", "user"] {
        if !parameters.iter().any(|(known, _)| known == name) {
            parameters.insert(0, (name.to_owned(), "postgres".to_owned()));
        }
    }
    Ok(parameters)
}

/// Splits `ParseComplete DataRow(7, null) ...` at the spaces outside parentheses.
fn patterns(rest: &str) -> Result<Vec<String>, String> {
    let mut patterns = vec![String::new()];
    let mut depth = 0_usize;
    for character in rest.chars() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.checked_sub(1).ok_or("a ) without (")?,
            _ => {}
        }
        if character == ' ' && depth == 0 {
            patterns.push(String::new());
        } else if let Some(last) = patterns.last_mut() {
            last.push(character);
        }
    }
    patterns.retain(|pattern| !pattern.is_empty());
    if depth == 0 { Ok(patterns) } else { Err("a ( without )".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::{Action, Deed, read};

    #[test]
    fn blocks_and_continued_lines_are_one() {
        let text = "# why\nbackends 2\na: connect\na: {\n  Parse \"\" \"select 1\"\n  # not sent\n  Sync\n}\na: expect One(a, b) \\\n   Two ...\n";
        let script = read("x", text, 15).expect("a script");
        assert_eq!((script.backends, script.steps.len()), (Some(2), 3));
        let Action::On(_, Deed::Send { bytes, pieces: None }) = &script.steps[1].action else { panic!("a write") };
        assert_eq!(bytes.first_chunk(), Some(b"P"));
        assert!(bytes.ends_with(b"S\0\0\0\x04"));
        let Action::On(_, Deed::Expect(patterns)) = &script.steps[2].action else { panic!("an expectation") };
        assert_eq!(patterns[..], ["One(a, b)", "Two", "..."]);
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        assert!(
            read("x", "\na: Qery \"x\"", 15).is_err_and(|error| error.starts_with("x:2: ") && error.contains("Qery"))
        );
        assert!(read("x", "setpu select 1", 15).is_err());
        assert!(read("x", "a: Sync \"too much\"", 15).is_err());
    }
}
