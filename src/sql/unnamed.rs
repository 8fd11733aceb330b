//! Code that sets settings whose names it does not tell: set_config with a name that is computed, EXECUTE of a text
//! that is put together. PostgreSQL lists settings with names of a user's own nowhere, so nobody can ask for these.

use super::bodies::contents;
use super::identifiers::name_of;
use super::learning::functions::{Given, text_run_by};
use super::lexer::{Lexer, Lexing, Token, TokenKind};

/// Code that holds code in a string that holds code and so on may do anything.
const DEPTH: usize = 4;

/// What a text begins with that cannot set anything by itself.
const HARMLESS: [&[u8]; 25] = [
    b"alter",
    b"analyze",
    b"analyse",
    b"call",
    b"close",
    b"cluster",
    b"comment",
    b"copy",
    b"create",
    b"delete",
    b"drop",
    b"fetch",
    b"grant",
    b"insert",
    b"lock",
    b"merge",
    b"move",
    b"notify",
    b"refresh",
    b"reindex",
    b"revoke",
    b"security",
    b"truncate",
    b"update",
    b"vacuum",
];

/// Whether code may set what it does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Unnamed {
    #[default]
    No,
    /// The name, or a whole statement, comes from somewhere else.
    Maybe,
    /// It puts a name together.
    Likely,
}

/// Whether the body of a function in SQL or PL/pgSQL, or a text of statements, may set what it does not name.
#[must_use]
pub fn unnamed_settings(body: &[u8], lexing: &Lexing) -> Unnamed {
    Reader { text: body, lexing: *lexing, tokens: Lexer::new(body, *lexing).collect() }.read(DEPTH)
}

/// Whether a string in a text of statements looks like the beginning of a setting's name, for a function to be called
/// with.
#[must_use]
pub fn begins_a_name(text: &[u8], lexing: &Lexing) -> bool {
    Reader { text, lexing: *lexing, tokens: Lexer::new(text, *lexing).collect() }.has_prefix()
}

/// Whether a text calls a function that runs a text, or reads tables, that its arguments name.
#[must_use]
pub fn runs_given(text: &[u8], lexing: &Lexing) -> bool {
    let mut tokens = Lexer::new(text, *lexing);
    std::iter::from_fn(|| Some((tokens.next()?, tokens)))
        .filter_map(|(token, following)| name_of(text, token, following))
        .any(|(name, _)| text_run_by(&name).is_some())
}

struct Reader<'a> {
    text: &'a [u8],
    lexing: Lexing,
    tokens: Vec<Token>,
}

impl Reader<'_> {
    fn read(&self, depth: usize) -> Unnamed {
        let mut found = Unnamed::No;
        let mut given = false;
        let mut dynamic = false;
        for (place, token) in self.tokens.iter().enumerate() {
            let rest = self.tokens.get(place + 1..).unwrap_or_default();
            let Some((name, more)) = name_of(self.text, *token, rest.iter().copied()) else { continue };
            let rest = rest.get(more..).unwrap_or_default();
            let command = match name.as_str() {
                "set_config" => {
                    match self.name_of_call(rest) {
                        Unnamed::Maybe => given = true,
                        other => found = found.max(other),
                    }
                    continue;
                }
                "do" => {
                    found = found.max(self.within(rest.iter().take(3), depth));
                    continue;
                }
                "execute" => self.command(rest),
                name => match text_run_by(name) {
                    Some(given) => self.given_text(rest, given),
                    None => continue,
                },
            };
            match command {
                [text] if is_text(text) => found = found.max(self.within(command.iter(), depth)),
                _ if self.is_execution(command) => {
                    dynamic = true;
                    found = found.max(if self.begins_harmless(command) { Unnamed::No } else { Unnamed::Maybe });
                }
                _ => {}
            }
        }
        if given {
            found = found.max(if self.has_prefix() { Unnamed::Likely } else { Unnamed::Maybe });
        }
        if dynamic && self.has_setting_piece() { Unnamed::Likely } else { found }
    }

    /// What the strings among these tokens hold, as code.
    fn within<'t>(&self, tokens: impl Iterator<Item = &'t Token>, depth: usize) -> Unnamed {
        let each = tokens.filter(|token| is_text(token)).map(|token| {
            let body = self.contents(token);
            match depth {
                0 => Unnamed::Likely,
                _ => Reader { text: &body, lexing: self.lexing, tokens: Lexer::new(&body, self.lexing).collect() }
                    .read(depth - 1),
            }
        });
        each.max().unwrap_or_default()
    }

    fn contents(&self, token: &Token) -> Vec<u8> {
        match token.kind {
            TokenKind::Text(quoting) => contents(token.of(self.text), quoting, self.lexing),
            _ => Vec::new(),
        }
    }

    fn is_word(&self, token: &Token, words: &[&str]) -> bool {
        let word = token.of(self.text);
        token.kind == TokenKind::Word && words.iter().any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
    }

    /// Where the name of a call of set_config comes from, whose arguments follow.
    fn name_of_call(&self, rest: &[Token]) -> Unnamed {
        let arguments = arguments(rest);
        if let [.., Token { kind: TokenKind::Comma, .. }, last] = arguments
            && self.is_word(last, &["true"])
        {
            return Unnamed::No;
        }
        let name = arguments.split(|token| matches!(token.kind, TokenKind::Comma | TokenKind::Cast)).next();
        match name.unwrap_or_default() {
            [] => Unnamed::No,
            [name] if is_text(name) => Unnamed::No,
            [Token { kind: TokenKind::Word | TokenKind::Name | TokenKind::Parameter, .. }]
            // A column of NEW, or of a row that a query has found.
            | [_, Token { kind: TokenKind::Dot, .. }, _] => Unnamed::Maybe,
            _ => Unnamed::Likely,
        }
    }

    /// The text that a function runs whose arguments follow.
    fn given_text<'t>(&self, rest: &'t [Token], given: Given) -> &'t [Token] {
        let mut arguments = arguments(rest).split(|token| token.kind == TokenKind::Comma);
        let argument = match given {
            Given::First => arguments.next(),
            Given::Last => arguments.next_back(),
            Given::Tables => None,
        };
        let text = argument.unwrap_or_default();
        match text.split(|token| token.kind == TokenKind::Cast).next() {
            Some([text]) if is_text(text) => std::slice::from_ref(text),
            _ => text,
        }
    }

    /// What EXECUTE runs.
    fn command<'t>(&self, rest: &'t [Token]) -> &'t [Token] {
        let end = rest
            .iter()
            .position(|token| token.kind == TokenKind::Semicolon || self.is_word(token, &["into", "using", "loop"]));
        rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
    }

    /// Not the privilege, nor what a trigger does.
    fn is_execution(&self, command: &[Token]) -> bool {
        command.first().is_some_and(|first| !self.is_word(first, &["function", "procedure", "on"]))
    }

    /// Whether a text that is put together begins as one that cannot set anything.
    fn begins_harmless(&self, command: &[Token]) -> bool {
        let skipped = |token: &&Token| token.kind == TokenKind::Open || self.is_word(token, &["format", "concat"]);
        let Some(first) = command.iter().find(|token| !skipped(token)) else { return false };
        let text = self.contents(first).to_ascii_lowercase();
        let word = super::first_word(&text);
        let names = (word == b"set" && !sets_without_name(&text))
            || (memchr::memmem::find(&text, b"set_config").is_some() && !calls_without_name(&text));
        names || HARMLESS.contains(&word.as_slice())
    }

    /// Whether a string looks like the beginning of a setting's name.
    fn has_prefix(&self) -> bool {
        self.tokens.iter().filter(|token| is_text(token)).any(|token| {
            let text = self.contents(token);
            let end = text.iter().position(|byte| !in_name(*byte)).unwrap_or(text.len());
            let (name, rest) = text.split_at_checked(end).unwrap_or_default();
            name.len() > 1 && name.ends_with(b".") && matches!(rest.first(), None | Some(b'%'))
        })
    }

    /// Whether what follows a token is not the beginning of a text.
    fn continues(&self, token: &Token) -> bool {
        token.kind == TokenKind::Comma || (token.kind == TokenKind::Operator && token.of(self.text) == b"||")
    }

    /// Whether a string sets something and leaves the name to what follows it.
    fn has_setting_piece(&self) -> bool {
        let mut continues = false;
        self.tokens.iter().any(|token| {
            let continued = std::mem::replace(&mut continues, self.continues(token));
            is_text(token) && {
                let text = self.contents(token).to_ascii_lowercase();
                calls_without_name(&text) || (!continued && sets_without_name(&text))
            }
        })
    }
}

/// What stands between brackets that open here.
fn arguments(tokens: &[Token]) -> &[Token] {
    let Some((Token { kind: TokenKind::Open, .. }, arguments)) = tokens.split_first() else { return &[] };
    let mut depth = 0_usize;
    let end = arguments.iter().position(|token| {
        let closes = token.kind == TokenKind::Close && depth == 0;
        depth = match token.kind {
            TokenKind::Open | TokenKind::OpenSquare => depth + 1,
            TokenKind::Close | TokenKind::CloseSquare => depth.saturating_sub(1),
            _ => depth,
        };
        closes
    });
    arguments.get(..end.unwrap_or(arguments.len())).unwrap_or_default()
}

fn is_text(token: &Token) -> bool {
    matches!(token.kind, TokenKind::Text(_))
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$') || byte >= 0x80
}

/// Whether a text in lower case calls set_config with anything but a whole string for the name.
fn calls_without_name(text: &[u8]) -> bool {
    memchr::memmem::find_iter(text, b"set_config").any(|at| {
        let after = text.get(at + b"set_config".len()..).unwrap_or_default().trim_ascii_start();
        let Some(argument) = after.strip_prefix(b"(") else { return true };
        let quoted = argument.trim_ascii_start();
        let Some(name) = quoted.strip_prefix(b"'") else { return true };
        let name = name.strip_prefix(b"'").unwrap_or(name);
        let end = name.iter().position(|byte| !in_name(*byte));
        end.is_none_or(|end| end == 0 || name.get(end) != Some(&b'\''))
    })
}

/// Whether a text in lower case has a statement that begins with SET and ends before the name does.
fn sets_without_name(text: &[u8]) -> bool {
    text.split(|byte| *byte == b';').any(|statement| {
        let word = |text: &[u8], word: &str| {
            let rest = text.trim_ascii_start().strip_prefix(word.as_bytes())?.to_vec();
            rest.first().is_none_or(u8::is_ascii_whitespace).then_some(rest)
        };
        let Some(rest) = word(statement, "set") else { return false };
        if ["local", "transaction", "constraints"].iter().any(|other| word(&rest, other).is_some()) {
            return false;
        }
        let rest = word(&rest, "session").unwrap_or(rest);
        let name = rest.trim_ascii_start();
        let end = name.iter().position(|byte| !in_name(*byte) && *byte != b'"');
        let whole = end.is_some_and(|end| {
            end > 0 && name.get(end).is_some_and(|byte| byte.is_ascii_whitespace() || *byte == b'=')
        });
        !whole
    })
}
