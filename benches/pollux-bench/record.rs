//! The results so far, in a file that is complete at every moment. An interrupted run leaves it behind.
//!
//! There is one record per process, which is one run; a single measurement only knows its own section.

use crate::failure::{During, Result};
use crate::report::{Results, Section};
use serde_json::{Map, Value};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

static RUN: Mutex<Option<Record>> = Mutex::new(None);

/// Opens the record of this run; nothing is written before there is something to write.
pub fn open(file: PathBuf, host: Map<String, Value>) {
    with(|run| *run = Some(Record { file, results: Results::new(host, Vec::new()) }));
}

/// Writes down what is done and, beside it, sections that are still being measured. Without a record that is nothing.
pub fn note(unfinished: &[Section]) {
    let written = with(|run| run.as_ref().map_or(Ok(()), |record| record.write(unfinished)));
    if let Err(failure) = written {
        eprintln!("  what was measured so far could not be written: {failure}");
    }
}

/// These sections are complete.
pub fn add(sections: Vec<Section>) {
    with(|run| {
        if let Some(record) = run {
            record.results.sections.extend(sections);
        }
    });
    note(&[]);
}

/// The run is over; whether nothing was wrong.
pub fn close() -> Result<bool> {
    let Some(record) = with(Option::take) else { return Ok(true) };
    replace(&record.file, &record.results.json())?;
    Ok(record.results.sound())
}

fn with<T>(job: impl FnOnce(&mut Option<Record>) -> T) -> T {
    // a thread that panicked while it held the lock had nothing half done
    job(&mut RUN.lock().unwrap_or_else(PoisonError::into_inner))
}

#[derive(Debug)]
struct Record {
    file: PathBuf,
    /// What is complete.
    results: Results,
}

impl Record {
    fn write(&self, unfinished: &[Section]) -> Result<()> {
        replace(&self.file, &self.results.with_unfinished(unfinished).json())
    }
}

/// Whoever reads it finds the old text or the new one.
fn replace(file: &Path, text: &str) -> Result<()> {
    let beside = file.with_extension("new");
    fs::write(&beside, text).during(beside.display())?;
    fs::rename(&beside, file).during(file.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::Series;

    fn section(name: &'static str, values: &[f64]) -> Section {
        let series = Series { subject: "bridge".into(), values: values.to_vec(), ..Series::default() };
        Section { name: name.into(), series: vec![series], ..Section::default() }
    }

    #[test]
    fn what_was_measured_is_there_at_every_moment() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("results.json");
        open(file.clone(), Map::new());
        assert!(!file.exists(), "nothing was measured");
        add(vec![section("xdp", &[1.0, 2.0])]);
        note(&[section("rtt", &[3.0])]);
        let partial = Results::read(&file).unwrap();
        let names: Vec<&str> = partial.sections.iter().map(|section| &*section.name).collect();
        assert_eq!((names, partial.unfinished()), (vec!["xdp", "rtt"], Some(vec!["rtt"])));
        add(vec![section("rtt", &[3.0, 4.0])]);
        assert_eq!(Results::read(&file).unwrap().unfinished(), Some(Vec::new()), "more may follow");
        assert!(close().unwrap());
        let whole = Results::read(&file).unwrap();
        assert_eq!((whole.unfinished(), &whole.sections[1].series[0].values[..]), (None, &[3.0, 4.0][..]));
    }
}
