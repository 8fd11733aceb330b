//! What a text may leave behind on its backend, beyond its transaction, as far as its words tell.
//!
//! Strings, quoted names and comments are skipped; function bodies are not looked into. A word that only looks like a
//! command costs a little; one that is missed would leak.

/// What may be left behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leaves {
    /// Settings that PostgreSQL can list: SET, RESET, set_config.
    pub settings: bool,
    /// What cannot be carried to another backend: temporary objects, session advisory locks, cursors WITH HOLD,
    /// SQL-level prepared statements, LISTEN, loaded libraries, settings with a name of the user's own.
    pub state: bool,
}

impl Leaves {
    /// Reads a text of any number of statements.
    #[must_use]
    pub fn of(text: &[u8]) -> Self {
        let mut leaves = Self::default();
        let mut words = Words { rest: text, first: true, opens: true };
        let mut before: &[u8] = b"";
        while let Some(word) = words.next() {
            if words.first {
                leaves |= words.command(word);
            } else {
                leaves |= words.part(word, before);
            }
            before = word;
        }
        leaves
    }

    #[must_use]
    pub fn anything(self) -> bool {
        self.settings || self.state
    }
}

impl std::ops::BitOrAssign for Leaves {
    fn bitor_assign(&mut self, other: Self) {
        self.settings |= other.settings;
        self.state |= other.state;
    }
}

/// The unquoted words of a text.
struct Words<'a> {
    rest: &'a [u8],
    /// The last word was the first of its statement.
    first: bool,
    /// The next one will be.
    opens: bool,
}

impl<'a> Words<'a> {
    /// The next word outside strings, quoted names and comments.
    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let (&byte, after) = self.rest.split_first()?;
            self.rest = match byte {
                b'\'' => skip_quoted(after, b'\'', false),
                b'"' => skip_quoted(after, b'"', false),
                b'$' => skip_dollar_quoted(after),
                b'-' if after.first() == Some(&b'-') => {
                    let end = after.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(after.len());
                    after.get(end..).unwrap_or_default()
                }
                b'/' if after.first() == Some(&b'*') => super::skip_block_comment(after.get(1..).unwrap_or_default()),
                b';' => {
                    self.opens = true;
                    after
                }
                byte if is_word(byte) => {
                    let end = self.rest.iter().position(|byte| !is_word(*byte)).unwrap_or(self.rest.len());
                    let (word, rest) = self.rest.split_at(end);
                    if let (1, Some((b'\'', string))) = (word.len(), rest.split_first()) {
                        // The prefix of a string: E'…', B'…', N'…', X'…'.
                        self.rest = skip_quoted(string, b'\'', word.eq_ignore_ascii_case(b"e"));
                        continue;
                    }
                    self.rest = rest;
                    self.first = std::mem::take(&mut self.opens);
                    return Some(word);
                }
                _ => after,
            };
        }
    }

    /// What a command leaves behind, by its first word.
    fn command(&self, word: &[u8]) -> Leaves {
        let next = Self { rest: self.rest, first: false, opens: false }.next().unwrap_or_default();
        let followed_by = |names: &[&str]| names.iter().any(|name| next.eq_ignore_ascii_case(name.as_bytes()));
        match word.to_ascii_lowercase().as_slice() {
            b"set" if followed_by(&["local", "transaction", "constraints"]) => Leaves::default(),
            // Roles are in no list of settings.
            b"set" if followed_by(&["role"]) || self.sets_authorization() => Leaves { settings: false, state: true },
            b"set" | b"reset" => Leaves { settings: true, state: self.names_own_setting() },
            b"prepare" => Leaves { settings: false, state: !followed_by(&["transaction"]) },
            b"listen" | b"load" => Leaves { settings: false, state: true },
            _ => Leaves::default(),
        }
    }

    /// Whether SET goes on with SESSION AUTHORIZATION.
    fn sets_authorization(&self) -> bool {
        let mut ahead = Self { rest: self.rest, first: false, opens: false };
        let mut is = |name: &str| ahead.next().is_some_and(|word| word.eq_ignore_ascii_case(name.as_bytes()));
        is("session") && is("authorization")
    }

    /// What a word within a command tells, after the word `before`.
    fn part(&self, word: &[u8], before: &[u8]) -> Leaves {
        let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        let after = |names: &[&str]| names.iter().any(|name| before.eq_ignore_ascii_case(name.as_bytes()));
        let state = match word.first() {
            Some(b't' | b'T') if is("temp") || is("temporary") => {
                after(&["create", "replace", "into", "local", "global"])
            }
            Some(b'h' | b'H') => is("hold") && after(&["with"]),
            Some(b'p' | b'P') => is("pg_temp") || is_session_lock(&word.to_ascii_lowercase()),
            Some(b's' | b'S') if is("set_config") && !self.is_local() => {
                return Leaves { settings: true, state: self.names_own_setting() };
            }
            _ => false,
        };
        Leaves { settings: false, state }
    }

    /// Whether the call of set_config that follows says that it is for the transaction alone.
    fn is_local(&self) -> bool {
        let end = self.rest.iter().position(|byte| *byte == b')').unwrap_or(self.rest.len());
        let arguments = self.rest.get(..end).unwrap_or_default().trim_ascii_end();
        arguments.len() > 4
            && arguments.get(arguments.len() - 4..).is_some_and(|last| last.eq_ignore_ascii_case(b"true"))
    }

    /// Whether the name that follows has a dot, or is not known: such a setting is in no catalog.
    fn names_own_setting(&self) -> bool {
        let is_blank = |byte: &u8| matches!(byte, b'(' | b'\'' | b'"') || byte.is_ascii_whitespace();
        let start = self.rest.iter().position(|byte| !is_blank(byte)).unwrap_or(self.rest.len());
        let name = self.rest.get(start..).unwrap_or_default();
        let end = name.iter().position(|byte| matches!(byte, b'=' | b',' | b';' | b')' | b' ')).unwrap_or(name.len());
        name.get(..end).is_some_and(|name| name.contains(&b'.') || name.starts_with(b"$"))
    }
}

fn is_session_lock(name: &[u8]) -> bool {
    (name.starts_with(b"pg_advisory_lock") || name.starts_with(b"pg_try_advisory_lock"))
        && !name.ends_with(b"_xact_lock")
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// What follows a quoted string or name that has begun; a doubled quote is a part of it.
fn skip_quoted(mut text: &[u8], quote: u8, escapes: bool) -> &[u8] {
    while let Some((&byte, after)) = text.split_first() {
        text = after;
        if escapes && byte == b'\\' {
            text = after.get(1..).unwrap_or_default();
        } else if byte == quote {
            match after.split_first() {
                Some((&next, rest)) if next == quote => text = rest,
                _ => return after,
            }
        }
    }
    text
}

/// What follows a dollar-quoted string whose first `$` was read; after a parameter, what follows the `$`.
fn skip_dollar_quoted(text: &[u8]) -> &[u8] {
    let Some(end) = text.iter().position(|byte| *byte == b'$' || !is_word(*byte)) else { return text };
    let tag = text.get(..end).unwrap_or_default();
    if text.get(end) != Some(&b'$') || tag.first().is_some_and(u8::is_ascii_digit) {
        return text;
    }
    let body = text.get(end + 1..).unwrap_or_default();
    let mut closing = vec![b'$'];
    closing.extend_from_slice(tag);
    closing.push(b'$');
    match memchr::memmem::find(body, &closing) {
        Some(at) => body.get(at + closing.len()..).unwrap_or_default(),
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(text: &str) -> bool {
        Leaves::of(text.as_bytes()) == Leaves { settings: true, state: false }
    }

    fn state(text: &str) -> bool {
        Leaves::of(text.as_bytes()).state
    }

    fn nothing(text: &str) -> bool {
        !Leaves::of(text.as_bytes()).anything()
    }

    #[test]
    fn what_sets_a_setting_of_the_session_is_noticed() {
        assert!(settings("SET work_mem = '4MB'"));
        assert!(settings("/* x */ select 1; set session search_path to a.b"));
        assert!(settings("SELECT pg_catalog.set_config('search_path', '', false)"));
        assert!(settings("reset all"));
        assert!(nothing("SET LOCAL work_mem = '4MB'"));
        assert!(nothing("set transaction read only"));
        assert!(nothing("select set_config('app.tenant', $1, true)"));
        assert!(state("select set_config($1, $2, false)"));
        assert!(nothing("UPDATE t SET a = 1, reset = 2"));
    }

    #[test]
    fn what_cannot_be_carried_elsewhere_is_noticed() {
        assert!(state("CREATE TEMP TABLE t (n int)"));
        assert!(state("create or replace temporary view v as select 1"));
        assert!(state("select 1 into temp t"));
        assert!(state("select pg_advisory_lock(1)"));
        assert!(state("SELECT pg_try_advisory_lock_shared(1)"));
        assert!(state("declare c cursor with hold for select 1"));
        assert!(state("prepare p as select 1"));
        assert!(state("begin; listen x"));
        assert!(state("load 'auto_explain'"));
        assert!(state("set role someone"));
        assert!(state("SET SESSION AUTHORIZATION someone"));
        assert!(state("set app.user_id = '7'"));
        assert!(state("select set_config('app.user_id', '7', false)"));
    }

    #[test]
    fn words_in_strings_names_and_comments_tell_nothing() {
        assert!(nothing("select 'set_config', \"pg_temp\", $$ listen x; $$, $1 -- create temp table"));
        assert!(nothing("select E'\\' set_config(', 'it''s' /* listen /* x */ ; listen y */"));
        assert!(nothing("select temp, hold, load from listen"));
        assert!(nothing("prepare transaction 'x'"));
        assert!(nothing("select pg_advisory_xact_lock(1), pg_try_advisory_xact_lock(2)"));
        assert!(nothing("insert into t values ($1, $2)"));
    }

    #[test]
    fn no_bytes_make_it_fail() {
        for text in [&b"'"[..], b"\"", b"$", b"$a$", b"$a", b"/*", b"--", b"E'\\", b"set", b"\xff\x00;;", b""] {
            let _ = Leaves::of(text);
        }
    }
}
