//! Names of settings that only their users know.

/// The dotted names that a text may give to settings, as they are written: what follows SET or RESET, and strings that
/// hold nothing else, for set_config. Some of them will be none.
///
/// It reads bytes, not tokens, so that strings within the bodies of functions and DO count too.
pub fn custom_names(text: &[u8]) -> impl Iterator<Item = String> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < text.len() {
            let before = at.checked_sub(1).and_then(|before| text.get(before)).copied();
            let begins = !before.is_some_and(|byte| in_name(byte, false));
            // Within dollar quotes a dollar ends the name.
            let dollars = before != Some(b'$');
            // Looked at only where one begins: a text may be one long word.
            if let Some((name, end)) = begins.then(|| dotted_name(text, at, dollars)).flatten() {
                let found = is_quoted(text, at, end) || is_set(text.get(..at).unwrap_or_default());
                at = end;
                if found {
                    return Some(name);
                }
            } else {
                at += 1;
            }
        }
        None
    })
}

fn in_name(byte: u8, dollars: bool) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80 || (dollars && byte == b'$')
}

/// Words with dots between them that begin here, without quotes around any of them, and where they end.
fn dotted_name(text: &[u8], start: usize, dollars: bool) -> Option<(String, usize)> {
    let mut parts = Vec::new();
    let mut end = start;
    let mut at = start;
    while let Some((part, after)) = name_part(text, at, dollars) {
        parts.push(part);
        end = after;
        if text.get(end) != Some(&b'.') {
            break;
        }
        at = end + 1;
    }
    (parts.len() > 1).then(|| (parts.join("."), end))
}

/// A word, or one in double quotes, and where it ends.
fn name_part(text: &[u8], start: usize, dollars: bool) -> Option<(String, usize)> {
    let quoted = text.get(start) == Some(&b'"');
    let from = start + usize::from(quoted);
    let rest = text.get(from..)?;
    let length = rest.iter().position(|byte| !in_name(*byte, dollars)).unwrap_or(rest.len());
    let part = rest.get(..length)?;
    let begins = part.first().is_some_and(|byte| !byte.is_ascii_digit() && *byte != b'$');
    let closed = !quoted || rest.get(length) == Some(&b'"');
    (begins && closed).then(|| (String::from_utf8_lossy(part).into_owned(), from + length + usize::from(quoted)))
}

/// Whether nothing but a name stands in a string or in double quotes.
fn is_quoted(text: &[u8], start: usize, end: usize) -> bool {
    let before = start.checked_sub(1).and_then(|at| text.get(at));
    match (before, text.get(end)) {
        (Some(open), Some(close)) => open == close && matches!(open, b'\'' | b'"' | b'$'),
        _ => false,
    }
}

/// Whether a text ends in SET or RESET, with SESSION or LOCAL or without.
fn is_set(text: &[u8]) -> bool {
    let mut words = text.rsplit(|byte| byte.is_ascii_whitespace()).filter(|word| !word.is_empty());
    let ends_in = |word: &[u8], known: &str| {
        let from = word.len().checked_sub(known.len()).and_then(|from| word.get(from..));
        from.is_some_and(|tail| tail.eq_ignore_ascii_case(known.as_bytes()))
    };
    let is_blank = text.last().is_some_and(u8::is_ascii_whitespace);
    let Some(last) = words.next().filter(|_| is_blank) else { return false };
    let last = if last.eq_ignore_ascii_case(b"session") || last.eq_ignore_ascii_case(b"local") {
        words.next().unwrap_or_default()
    } else {
        last
    };
    ends_in(last, "set")
}
