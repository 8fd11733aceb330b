//! What is wrong with a configuration, said so that one reading is enough to put it right.

use std::fmt;

use super::Loaded;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Default,
    /// `line` counts from 1; 0 is the file as a whole.
    File {
        name: String,
        line: usize,
    },
    Url,
    /// The name of the variable.
    Environment(String),
}

/// One mistake: where, in which key, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub origin: Origin,
    /// `pool.size`, `users.bob.password`; empty where no key is concerned.
    pub key: String,
    pub problem: Problem,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// A value that its key does not take.
    BadValue {
        found: String,
        expected: String,
        hint: Option<String>,
    },
    /// Values that are fine alone but not together, or not here.
    Conflict(String),
    Missing(String),
    /// Not TOML, not a URL, not readable.
    Syntax(String),
    /// `what` is "key", "section", "variable" or "parameter"; without a nearest one, `known` are all there are.
    Unknown {
        what: &'static str,
        nearest: Option<String>,
        known: Vec<String>,
    },
}

/// Everything that is wrong; never empty. `Display` gives one paragraph for each.
#[derive(Debug, Clone)]
pub struct Mistakes {
    pub(super) all: Vec<Mistake>,
    /// What there is without them.
    pub(super) rest: Option<Box<Loaded>>,
}

// === impl Origin ===

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { name, line: 0 } => f.write_str(name),
            Self::File { name, line } => write!(f, "{name}:{line}"),
            Self::Url => f.write_str("url"),
            Self::Environment(variable) => f.write_str(variable),
        }
    }
}

// === impl Mistake ===

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.origin != Origin::Default {
            write!(f, "{}: ", self.origin)?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.problem)
    }
}

// === impl Problem ===

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadValue { found, expected, hint } => {
                write!(f, "found {found}; expected {expected}")?;
                hint.as_ref().map_or(Ok(()), |hint| write!(f, "; {hint}"))
            }
            Self::Conflict(text) | Self::Missing(text) | Self::Syntax(text) => f.write_str(text),
            Self::Unknown { what, nearest: Some(nearest), .. } => write!(f, "unknown {what}; did you mean {nearest}?"),
            Self::Unknown { what, nearest: None, known } => {
                write!(f, "unknown {what}; known are {}", known.join(", "))
            }
        }
    }
}

// === impl Mistakes ===

impl Mistakes {
    pub(super) fn unreadable(name: String, error: &std::io::Error) -> Self {
        let problem = Problem::Syntax(format!("cannot be read: {error}"));
        let all = vec![Mistake { origin: Origin::File { name, line: 0 }, key: String::new(), problem }];
        Self { all, rest: None }
    }

    /// `None` where nothing is wrong.
    #[must_use]
    pub fn of(mut mistakes: Vec<Mistake>) -> Option<Self> {
        mistakes.sort_by(|a, b| a.origin.cmp(&b.origin));
        (!mistakes.is_empty()).then_some(Self { all: mistakes, rest: None })
    }

    /// The configuration with defaults in their place, to be looked at for further mistakes; `None` where none could be
    /// read.
    #[must_use]
    pub fn rest(&self) -> Option<&Loaded> {
        self.rest.as_deref()
    }

    /// These and those.
    #[must_use]
    pub fn and(mut self, more: Vec<Mistake>) -> Self {
        self.all.extend(more);
        self.all.sort_by(|a, b| a.origin.cmp(&b.origin));
        self
    }

    /// In the order in which they are shown.
    pub fn iter(&self) -> std::slice::Iter<'_, Mistake> {
        self.all.iter()
    }
}

impl<'a> IntoIterator for &'a Mistakes {
    type Item = &'a Mistake;
    type IntoIter = std::slice::Iter<'a, Mistake>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, mistake) in self.all.iter().enumerate() {
            let separator = if i == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// The candidate that `word` was most likely meant to be: one that is spelled alike, or how other poolers call it with a
/// word before it (`pool_size`); `None` when none is near.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = word.chars().count() / 3 + 1;
    let candidates: Vec<&str> = candidates.into_iter().collect();
    let alike = candidates
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate);
    let ends_word = |candidate: &&str| word.strip_suffix(candidate).is_some_and(|before| before.ends_with('_'));
    alike.or_else(|| candidates.iter().copied().filter(ends_word).max_by_key(|candidate| candidate.len()))
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b`, letter case aside.
fn distance(a: &str, b: &str) -> usize {
    let letters = |text: &str| -> Vec<char> { text.chars().flat_map(char::to_lowercase).collect() };
    let (a, b) = (letters(a), letters(b));
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits_and_swaps() {
        assert_eq!(distance("size", "size"), 0);
        assert_eq!(distance("siz", "size"), 1);
        assert_eq!(distance("szie", "size"), 1);
        assert_eq!(distance("", "size"), 4);
        assert_eq!(distance("MODE", "mode"), 0);
    }

    #[test]
    fn what_is_far_from_everything_has_no_nearest() {
        assert_eq!(nearest("colour", ["size", "mode"]), None);
        assert_eq!(nearest("max_overlow", ["size", "max_overflow"]), Some("max_overflow"));
        assert_eq!(nearest("default_pool_size", ["size", "max_overflow"]), Some("size"));
        assert_eq!(nearest("oversize", ["size", "max_overflow"]), None);
    }
}
