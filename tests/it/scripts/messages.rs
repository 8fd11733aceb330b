//! From `Bind "" "s1" ["7" null] [1] [1]` to bytes.

use bytes::Bytes;

use super::tokens::Token;
use crate::harness::frame;

/// The tag of a server's frame by its name.
pub fn tag_named(name: &str) -> Option<u8> {
    (0..=u8::MAX).find(|tag| frame::Frame::Message(*tag, Bytes::new()).name() == name)
}

/// Arguments of a message, taken from left to right; what is left out is empty.
struct Arguments<'a>(std::slice::Iter<'a, Token>);

impl Arguments<'_> {
    fn text(&mut self) -> Result<Vec<u8>, String> {
        match self.0.next() {
            None => Ok(Vec::new()),
            Some(Token::Text(text)) => Ok(text.clone()),
            Some(other) => Err(format!("{other:?} where a string is wanted")),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        String::from_utf8(self.text()?).map_err(|_| "a name or a statement is not UTF-8: use raw".to_owned())
    }

    fn number<T: std::str::FromStr + Default>(&mut self) -> Result<T, String> {
        match self.0.next() {
            None => Ok(T::default()),
            Some(Token::Word(word)) => word.parse().map_err(|_| format!("{word} is no number")),
            Some(other) => Err(format!("{other:?} where a number is wanted")),
        }
    }

    fn list<T>(&mut self, item: impl Fn(&Token) -> Result<T, String>) -> Result<Vec<T>, String> {
        match self.0.next() {
            None => return Ok(Vec::new()),
            Some(Token::Open) => {}
            Some(other) => return Err(format!("{other:?} where a list is wanted")),
        }
        let mut items = Vec::new();
        for token in self.0.by_ref() {
            if *token == Token::Close {
                return Ok(items);
            }
            items.push(item(token)?);
        }
        Err("a list has no end".to_owned())
    }

    fn parameters(&mut self) -> Result<Vec<(String, String)>, String> {
        let mut flat = Vec::new();
        for token in self.0.by_ref() {
            match token {
                Token::Text(text) => flat.push(String::from_utf8_lossy(text).into_owned()),
                other => return Err(format!("{other:?} where a string is wanted")),
            }
        }
        Ok(flat.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect())
    }
}

/// Bytes of one message, or of a packet without tag.
pub fn build(tokens: &[Token]) -> Result<Vec<u8>, String> {
    let (Some(Token::Word(word)), arguments) = (tokens.first(), tokens.get(1..).unwrap_or_default()) else {
        return Err("a message begins with its name".to_owned());
    };
    let mut arguments = Arguments(arguments.iter());
    let bytes = build_named(word, &mut arguments)?;
    match arguments.0.next() {
        None => Ok(bytes),
        Some(left) => Err(format!("{left:?} is too much")),
    }
}

fn build_named(word: &str, arguments: &mut Arguments<'_>) -> Result<Vec<u8>, String> {
    Ok(match word {
        "Query" => frame::message(b'Q', &[&arguments.text()?[..], b"\0"].concat()),
        "Parse" => frame::parse(&arguments.string()?, &arguments.string()?, &arguments.list(type_oid)?),
        "Bind" => {
            let (portal, statement) = (arguments.string()?, arguments.string()?);
            let values = arguments.list(value)?;
            let (formats, results) = (arguments.list(number)?, arguments.list(number)?);
            frame::bind_with(&portal, &statement, &formats, &values, &results)
        }
        "Execute" => frame::execute(&arguments.string()?, arguments.number()?),
        "DescribeStatement" => frame::named(b'D', b'S', &arguments.string()?),
        "DescribePortal" => frame::named(b'D', b'P', &arguments.string()?),
        "CloseStatement" => frame::named(b'C', b'S', &arguments.string()?),
        "ClosePortal" => frame::named(b'C', b'P', &arguments.string()?),
        "Sync" => frame::sync(),
        "Flush" => frame::flush(),
        "Terminate" => frame::terminate(),
        "FunctionCall" => {
            let oid = arguments.number()?;
            let values = arguments.list(value)?;
            let formats = arguments.list(number)?;
            frame::function_call(oid, &formats, &values, arguments.number()?)
        }
        "CopyData" => frame::message(b'd', &arguments.text()?),
        "CopyDone" => frame::message(b'c', &[]),
        "CopyFail" => frame::message(b'f', &[&arguments.text()?[..], b"\0"].concat()),
        "Password" => frame::message(b'p', &[&arguments.text()?[..], b"\0"].concat()),
        "SSLRequest" => frame::ssl_request(),
        "GSSENCRequest" => frame::gss_request(),
        "Startup" => {
            let (major, minor) = (arguments.number()?, arguments.number()?);
            let parameters = arguments.parameters()?;
            let borrowed: Vec<_> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            frame::startup(major, minor, &borrowed)
        }
        "raw" => raw(arguments)?,
        _ => return Err(format!("no message is called {word}")),
    })
}

fn raw(arguments: &mut Arguments<'_>) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    for token in arguments.0.by_ref() {
        match token {
            Token::Word(hex) => {
                bytes.push(u8::from_str_radix(hex, 16).map_err(|_| format!("{hex} is no byte"))?);
            }
            Token::Text(text) => bytes.extend_from_slice(text),
            other => return Err(format!("{other:?} in raw bytes")),
        }
    }
    Ok(bytes)
}

fn value(token: &Token) -> Result<Option<Bytes>, String> {
    match token {
        Token::Text(text) => Ok(Some(Bytes::copy_from_slice(text))),
        Token::Word(word) if word == "null" => Ok(None),
        other => Err(format!("{other:?} where a string or null is wanted")),
    }
}

fn number(token: &Token) -> Result<u16, String> {
    match token {
        Token::Word(word) => word.parse().map_err(|_| format!("{word} is no number")),
        other => Err(format!("{other:?} where a number is wanted")),
    }
}

fn type_oid(token: &Token) -> Result<u32, String> {
    let Token::Word(word) = token else { return Err("a type is a name or an oid".to_owned()) };
    Ok(match word.as_str() {
        "bool" => 16,
        "bytea" => 17,
        "int8" => 20,
        "int4" => 23,
        "text" => 25,
        "unknown" => 705,
        "numeric" => 1700,
        other => other.parse().map_err(|_| format!("type {other} is not known here: give its oid"))?,
    })
}
