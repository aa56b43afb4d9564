//! The file of instruction counts, and by how much they may change.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// How much a count may rise before the file has to be changed.
const TOLERANCE: f64 = 0.03;

const HEAD: &str = "\
# Instructions per frame of the pipeline in memory, by case: 64-byte frames of 1000 stations, bursts of 32 unless named.
# Counted by callgrind in the profile `counted`; `make test` fails when one rises by more than 3 %.
# `make instructions` writes this file anew: do so in the commit that changes them, and say why.
";

/// Counts of one compiler.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// `rustc --version`: another one makes other code.
    pub rustc: String,
    /// Per frame, by case.
    pub instructions: BTreeMap<String, f64>,
}

impl Ledger {
    /// Of a file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        toml::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Into a file.
    pub fn write(&self, path: &Path) -> Result<(), String> {
        let text = toml::to_string(self).map_err(|error| error.to_string())?;
        fs::write(path, format!("{HEAD}\n{text}")).map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Prints what changed since `then`; an error if anything rose too much.
    pub fn held_against(&self, then: &Self, path: &Path) -> Result<(), String> {
        if self.rustc != then.rustc {
            println!("instructions: {} counts of {}, not of {}: not compared", path.display(), then.rustc, self.rustc);
            return Ok(());
        }
        let wrong = self.wrong(then);
        if wrong.is_empty() {
            println!("instructions: {} cases, none rose by more than 3 %", self.instructions.len());
            return Ok(());
        }
        let file = path.display();
        Err(format!(
            "{}\n{file} is not what the code is: make it faster, or `make instructions` and say why",
            wrong.join("\n")
        ))
    }

    /// What is not as it should be.
    fn wrong(&self, then: &Self) -> Vec<String> {
        let rose = self.instructions.iter().filter_map(|(name, now)| match then.instructions.get(name) {
            None => Some(format!("{name}: {now} instructions per frame, not in the file")),
            Some(then) if *now > then * (1.0 + TOLERANCE) => {
                let percent = (now / then - 1.0) * 100.0;
                Some(format!("{name}: {now} instructions per frame, {then} before: {percent:.1} % more"))
            }
            Some(_) => None,
        });
        let gone = then.instructions.keys().filter(|name| !self.instructions.contains_key(*name));
        rose.chain(gone.map(|name| format!("{name}: in the file, but no case"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(rustc: &str, counts: &[(&str, f64)]) -> Ledger {
        let instructions = counts.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
        Ledger { rustc: rustc.to_owned(), instructions }
    }

    fn verdict(now: &Ledger) -> Result<(), String> {
        now.held_against(&ledger("1.95", &[("plain", 100.0), ("mirror", 200.0)]), Path::new("instructions.toml"))
    }

    #[test]
    fn three_percent_are_allowed_and_four_are_not() {
        assert_eq!(verdict(&ledger("1.95", &[("plain", 103.0), ("mirror", 150.0)])), Ok(()));
        let said = verdict(&ledger("1.95", &[("plain", 104.0), ("mirror", 200.0)])).unwrap_err();
        assert!(said.starts_with("plain: 104 instructions per frame, 100 before: 4.0 % more\n"), "{said}");
    }

    #[test]
    fn the_file_has_the_cases_that_there_are() {
        let said = verdict(&ledger("1.95", &[("plain", 100.0), ("storm", 1.0)])).unwrap_err();
        assert!(said.contains("storm: 1 instructions") && said.contains("mirror: in the file"), "{said}");
    }

    #[test]
    fn another_compiler_is_not_compared() {
        assert_eq!(verdict(&ledger("1.96", &[("plain", 500.0)])), Ok(()));
    }

    #[test]
    fn what_is_written_can_be_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ledger = ledger("rustc 1.95.0", &[("vlan: trunk to access", 120.5)]);
        ledger.write(file.path()).unwrap();
        assert_eq!(Ledger::read(file.path()).unwrap(), ledger);
    }
}
