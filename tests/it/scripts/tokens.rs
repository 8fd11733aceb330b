//! Words, strings and brackets of a script's line.

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Token {
    Word(String),
    /// A string: escapes resolved, repetitions (`"ab"*1000`) and sums (`"a" + "b"`) carried out.
    Text(Vec<u8>),
    Open,
    Close,
}

/// Splits messages that stand on one line, `Bind; Execute; Sync`: they make one write.
pub fn split_messages(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, character) in text.char_indices() {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// Reads a line's tokens.
pub fn tokens(line: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = line.trim_start();
    let mut adding = false;
    while let Some(first) = rest.chars().next() {
        match first {
            '[' | ']' => {
                tokens.push(if first == '[' { Token::Open } else { Token::Close });
                rest = &rest[1..];
            }
            '+' => {
                adding = true;
                rest = &rest[1..];
            }
            '"' => {
                let (text, after) = string(&rest[1..])?;
                match tokens.last_mut() {
                    Some(Token::Text(sum)) if adding => sum.extend(text),
                    _ => tokens.push(Token::Text(text)),
                }
                adding = false;
                rest = after;
            }
            _ => {
                let end = rest.find([' ', '[', ']', '"']).unwrap_or(rest.len());
                tokens.push(Token::Word(rest[..end].to_owned()));
                rest = &rest[end..];
            }
        }
        rest = rest.trim_start();
    }
    Ok(tokens)
}

/// The string that begins here, after its quotation mark, and what follows it.
fn string(text: &str) -> Result<(Vec<u8>, &str), String> {
    let mut bytes = Vec::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return repeated(bytes, &text[at + 1..]),
            '\\' => {
                let (_, escape) = characters.next().ok_or("a string ends in a backslash")?;
                bytes.push(match escape {
                    'n' => b'\n',
                    't' => b'\t',
                    '0' => 0,
                    '"' | '\\' => escape as u8,
                    'x' => {
                        characters.next();
                        characters.next();
                        let digits = text.get(at + 2..at + 4).ok_or("\\x needs two digits")?;
                        u8::from_str_radix(digits, 16).map_err(|_| "\\x needs two hexadecimal digits")?
                    }
                    _ => return Err(format!("\\{escape} is no escape")),
                });
            }
            _ => bytes.extend(character.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Err("a string has no end".to_owned())
}

fn repeated(bytes: Vec<u8>, after: &str) -> Result<(Vec<u8>, &str), String> {
    let Some(count) = after.strip_prefix('*') else { return Ok((bytes, after)) };
    let end = count.find(|character: char| !character.is_ascii_digit()).unwrap_or(count.len());
    let times: usize = count[..end].parse().map_err(|_| "* needs a number")?;
    Ok((bytes.repeat(times), &count[end..]))
}

#[cfg(test)]
mod tests {
    use super::{Token, split_messages, tokens};

    #[test]
    fn strings_repeat_and_add_up() {
        let text = |bytes: &[u8]| Token::Text(bytes.to_vec());
        assert_eq!(tokens(r#""ab"*2 + "c\x00\n""#), Ok(vec![text(b"ababc\0\n")]));
        assert_eq!(tokens(r#"Bind "" ["7" null]"#).map(|tokens| tokens.len()), Ok(6));
        assert!(tokens(r#""no end"#).is_err());
    }

    #[test]
    fn semicolons_in_strings_part_nothing() {
        assert_eq!(split_messages(r#"Query "a; \"b;"; Sync;"#), [r#"Query "a; \"b;""#, "Sync"]);
    }
}
