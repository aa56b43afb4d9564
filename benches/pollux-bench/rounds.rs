//! The order of measurements: every subject once per round, so that whatever the machine does meanwhile hits all.

use crate::failure::Result;
use crate::report::{Section, Series};
use std::fmt::Display;

/// Figures by name, with their unit.
pub type Facts = Vec<(String, f64)>;

/// One measurement.
#[derive(Debug, Default)]
pub struct Reading {
    /// The figure.
    pub value: f64,
    /// Figures that go with it, by name.
    pub facts: Facts,
    /// What else was found.
    pub findings: Findings,
}

/// What is said of a subject in words.
#[derive(Debug, Default)]
pub struct Findings {
    /// What must not be and was.
    pub faults: Vec<String>,
    /// What a reader should know.
    pub remarks: Vec<String>,
}

/// What is measured in a section.
#[derive(Debug)]
pub struct Course<'a, S, W> {
    /// How often each.
    pub rounds: u32,
    /// Who.
    pub subjects: &'a [S],
    /// What each has to do.
    pub works: &'a [W],
}

impl<S: Display, W: Display> Course<'_, S, W> {
    /// Takes all readings into `section`. A measurement that fails is a fault of the section; the others go on.
    pub fn run(&self, section: &mut Section, mut measure: impl FnMut(&S, &W) -> Result<Reading>) {
        for round in 1..=self.rounds {
            for work in self.works {
                for subject in self.subjects {
                    let reading = measure(subject, work);
                    let value = reading.as_ref().map_or(f64::NAN, |reading| reading.value);
                    eprintln!("{} {round}/{}: {work}: {subject}: {value:.3}", section.name, self.rounds);
                    section.take(&subject.to_string(), &work.to_string(), reading);
                }
            }
        }
    }
}

impl Section {
    fn take(&mut self, subject: &str, work: &str, reading: Result<Reading>) {
        let reading = reading.unwrap_or_else(|failure| Reading {
            value: f64::NAN,
            findings: Findings { faults: vec![failure.to_string()], ..Findings::default() },
            ..Reading::default()
        });
        for fault in reading.findings.faults {
            eprintln!("  {fault}");
            push_new(&mut self.faults, format!("{work}: {subject}: {fault}"));
        }
        for remark in reading.findings.remarks {
            push_new(&mut self.remarks, format!("{subject}: {remark}"));
        }
        let series = self.series_of(subject, work);
        series.values.push(reading.value);
        for (name, value) in reading.facts {
            series.facts.entry(name).or_default().push(value);
        }
    }

    fn series_of(&mut self, subject: &str, work: &str) -> &mut Series {
        let place = self.series.iter().position(|series| series.subject == subject && series.work == work);
        let place = place.unwrap_or_else(|| {
            self.series.push(Series { subject: subject.to_owned(), work: work.to_owned(), ..Series::default() });
            self.series.len() - 1
        });
        &mut self.series[place]
    }
}

/// The same in every round is said once.
fn push_new(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}
