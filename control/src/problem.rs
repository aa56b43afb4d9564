//! What is wrong with a file, and what to type next.
//!
//! Every mistake carries its place in the text (`file:line:column`), its path in the document (`ports.p2.mtu`), what
//! is wrong and the remedy. All of a file's mistakes are reported together.

use serde::Serialize;
use std::fmt;

/// A place in the text, counted from 1; `0:0` means unknown (the API has no file).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceLocation {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

/// One mistake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where in the text.
    #[serde(skip)]
    pub place: SourceLocation,
    /// Where in the document: `ports.p2.mtu`.
    pub path: String,
    /// What is wrong.
    #[serde(rename = "error")]
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Problem {
    /// A mistake whose place is filled in later from its path.
    pub fn new(path: impl Into<String>, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { place: SourceLocation::default(), path: path.into(), what: what.into(), remedy: remedy.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        if !self.remedy.is_empty() {
            write!(f, "; {}", self.remedy)?;
        }
        Ok(())
    }
}

/// All mistakes of one file, or all warnings about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
pub struct Problems {
    /// The file as the user named it; empty for the API.
    pub file: String,
    /// The mistakes, in text order.
    pub list: Vec<Problem>,
}

impl Problems {
    /// One mistake.
    pub fn one(file: impl Into<String>, problem: Problem) -> Self {
        Self { file: file.into(), list: vec![problem] }
    }

    /// As warnings for people, a line each: what is not wrong, but seldom meant.
    #[must_use]
    pub fn as_warnings(&self) -> String {
        if self.list.is_empty() {
            return String::new();
        }
        self.to_string().lines().map(|line| format!("warning: {line}\n")).collect()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.list.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            if !self.file.is_empty() {
                write!(f, "{}:", self.file)?;
            }
            if problem.place != SourceLocation::default() {
                write!(f, "{}:{}:", problem.place.line, problem.place.column)?;
            }
            if !self.file.is_empty() {
                f.write_str(" ")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

/// The word of `known` that `word` was probably meant to be.
#[must_use]
pub fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &&str| (distance(word, candidate), candidate.len());
    let best = known.into_iter().min_by_key(near)?;
    (distance(word, best) <= 1 + word.len() / 3).then_some(best)
}

/// Levenshtein distance: insertions, deletions and replacements from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut corner = i;
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(corner + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_the_word_that_was_meant() {
        let keys = ["kind", "domain", "mtu", "ifname"];
        assert_eq!(meant("ifnmae", keys), Some("ifname"));
        assert_eq!(meant("mtuu", keys), Some("mtu"));
        assert_eq!(meant("colour", keys), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
    }

    #[test]
    fn a_problem_reads_as_one_line() {
        let mut problem = Problem::new("ports.p2.mtu", "9000 is too much", "write 1500 or less");
        problem.place = SourceLocation { line: 3, column: 9 };
        let all = Problems::one("a.yaml", problem);
        assert_eq!(all.to_string(), "a.yaml:3:9: ports.p2.mtu: 9000 is too much; write 1500 or less");
        assert_eq!(all.as_warnings(), format!("warning: {all}\n"));
        assert_eq!(Problems::default().as_warnings(), "");
    }
}
