//! The frames that make a portal and run it, read whole: for whoever answers them itself. What is only passed on is
//! read by [`super::view`].

use super::scan::Malformed;
use super::tag::client;
use super::view::split_cstr;

/// Bind, with its values and the formats that are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WholeBind<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
    /// In order; `None` is NULL.
    pub values: Vec<Option<&'a [u8]>>,
    values_binary: Formats,
    results_binary: Formats,
}

/// Which of several columns are binary (manual: "Message Formats", Bind).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Formats(Vec<bool>);

impl Formats {
    /// Of the column at `index`: none given is text for all, one is for all.
    #[must_use]
    pub fn is_binary(&self, index: usize) -> bool {
        match self.0.as_slice() {
            [] => false,
            [all] => *all,
            each => each.get(index).copied().unwrap_or(false),
        }
    }

    /// Whether as many are given as there may be for so many columns.
    #[must_use]
    pub fn fits(&self, columns: usize) -> bool {
        self.0.len() <= 1 || self.0.len() == columns
    }
}

impl<'a> WholeBind<'a> {
    /// # Errors
    /// A body that is not what its counts and lengths say.
    pub fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        Self::read_parts(body).ok_or(Malformed::Contents { tag: client::BIND })
    }

    fn read_parts(body: &'a [u8]) -> Option<Self> {
        let (portal, rest) = split_cstr(body)?;
        let (statement, mut rest) = split_cstr(rest)?;
        let values_binary = formats(&mut rest)?;
        let mut values = Vec::new();
        for _ in 0..u16::from_be_bytes(taken(&mut rest)?) {
            // A negative length is NULL.
            let Ok(length) = usize::try_from(i32::from_be_bytes(taken(&mut rest)?)) else {
                values.push(None);
                continue;
            };
            let (value, after) = rest.split_at_checked(length)?;
            values.push(Some(value));
            rest = after;
        }
        let results_binary = formats(&mut rest)?;
        rest.is_empty().then_some(Self { portal, statement, values, values_binary, results_binary })
    }

    #[must_use]
    pub fn value_is_binary(&self, index: usize) -> bool {
        self.values_binary.is_binary(index)
    }

    /// What the columns of the result are to be sent as.
    #[must_use]
    pub fn into_result_formats(self) -> Formats {
        self.results_binary
    }
}

/// Execute: (portal, the most rows; 0 is all of them).
///
/// # Errors
/// A body that is not a name and a number.
pub fn execute(body: &[u8]) -> Result<(&[u8], usize), Malformed> {
    let malformed = Malformed::Contents { tag: client::EXECUTE };
    let (portal, rest) = split_cstr(body).ok_or(malformed)?;
    let rows = <[u8; 4]>::try_from(rest).map_err(|_| malformed)?;
    // Less than none is none given, as with PostgreSQL.
    Ok((portal, usize::try_from(i32::from_be_bytes(rows)).unwrap_or(0)))
}

fn taken<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk::<N>()?;
    *rest = after;
    Some(*bytes)
}

/// A count and as many format codes, each 0 or 1.
fn formats(rest: &mut &[u8]) -> Option<Formats> {
    let mut formats = Vec::new();
    for _ in 0..u16::from_be_bytes(taken(rest)?) {
        formats.push(match u16::from_be_bytes(taken(rest)?) {
            0 => false,
            1 => true,
            _ => return None,
        });
    }
    Some(Formats(formats))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_gives_its_values_and_formats() {
        let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x01x\xff\xff\xff\xff\0\x02\0\x01\0\0";
        let bind = WholeBind::read(body).expect("whole");
        assert_eq!((bind.portal, bind.statement), (&b"p"[..], &b"s"[..]));
        assert_eq!(bind.values, [Some(&b"x"[..]), None]);
        assert!(bind.value_is_binary(1));
        let results = bind.into_result_formats();
        assert!(results.is_binary(0) && !results.is_binary(1) && results.fits(2) && !results.fits(3));
    }

    #[test]
    fn a_bind_that_is_cut_anywhere_or_goes_on_is_refused() {
        let body = b"p\0s\0\0\0\0\x01\0\0\0\x01x\0\0";
        for end in 0..body.len() {
            assert!(WholeBind::read(&body[..end]).is_err(), "{end}");
        }
        assert!(WholeBind::read(body).is_ok());
        assert!(WholeBind::read(&[&body[..], b"x"].concat()).is_err());
        assert!(WholeBind::read(b"p\0s\0\0\x01\0\x02\0\0\0\0").is_err());
    }

    #[test]
    fn an_execute_is_a_name_and_a_number() {
        assert_eq!(execute(b"p\0\0\0\0\x05"), Ok((&b"p"[..], 5)));
        assert_eq!(execute(b"p\0\xff\xff\xff\xff"), Ok((&b"p"[..], 0)));
        assert!(execute(b"p\0\0\0\0").is_err());
    }
}
