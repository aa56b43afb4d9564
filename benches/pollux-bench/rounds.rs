//! The order of measurements: every subject once per round, so that whatever the machine does meanwhile hits all.

use crate::failure::Result;
use crate::record;
use crate::report::{Latency, Section, Series};
use indicatif::{ProgressBar, ProgressStyle};
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
    /// Where the work lies on the axis of a curve.
    pub x: Option<f64>,
    /// Times of single frames or trips; those of all rounds go together.
    pub latency: Option<Latency>,
    /// What else was found.
    pub findings: Findings,
}

/// A reading and where it belongs.
#[derive(Debug)]
pub struct Taken {
    /// Number of the section.
    pub section: usize,
    /// The work.
    pub work: String,
    /// The reading.
    pub reading: Result<Reading>,
}

/// Findings on a subject in words.
#[derive(Debug, Default)]
pub struct Findings {
    /// Faults.
    pub faults: Vec<String>,
    /// Remarks.
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
        let progress = self.progress(&section.name);
        for round in 1..=self.rounds {
            for work in self.works {
                for subject in self.subjects {
                    progress.set_message(format!("{work}: {subject}"));
                    let reading = measure(subject, work);
                    let value = reading.as_ref().map_or(f64::NAN, |reading| reading.value);
                    let line = format!("{} {round}/{}: {work}: {subject}: {value:.3}", section.name, self.rounds);
                    progress.suspend(|| {
                        section.take(&subject.to_string(), &work.to_string(), reading);
                        record::note(std::slice::from_ref(section));
                        eprintln!("{line}");
                    });
                    progress.inc(1);
                }
            }
        }
        progress.finish_and_clear();
    }

    /// The same for measurements that yield readings of several sections, each with the name of its work.
    pub fn run_all(&self, sections: &mut [Section], mut measure: impl FnMut(&S, &W) -> Result<Vec<Taken>>) {
        let name = sections.first().map_or_else(String::new, |section| section.name.to_string());
        let progress = self.progress(&name);
        for round in 1..=self.rounds {
            for work in self.works {
                for subject in self.subjects {
                    progress.set_message(format!("{work}: {subject}"));
                    let failed = |failure| vec![Taken { section: 0, work: work.to_string(), reading: Err(failure) }];
                    let all = measure(subject, work).unwrap_or_else(failed);
                    progress.suspend(|| {
                        for Taken { section, work, reading } in all {
                            let section = &mut sections[section];
                            section.take(&subject.to_string(), &work, reading);
                        }
                        record::note(sections);
                        eprintln!("{name} {round}/{}: {work}: {subject}", self.rounds);
                    });
                    progress.inc(1);
                }
            }
        }
        progress.finish_and_clear();
    }

    /// A bar with the time that remains; nothing if standard error is not a terminal.
    fn progress(&self, name: &str) -> ProgressBar {
        let readings = u64::from(self.rounds) * (self.works.len() * self.subjects.len()) as u64;
        let bar = ProgressBar::new(readings).with_prefix(name.to_owned());
        match ProgressStyle::with_template("{prefix} {wide_bar} {pos}/{len}, {eta} left  {msg}") {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
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
        series.x = reading.x.or(series.x);
        for (name, value) in reading.facts {
            series.facts.entry(name).or_default().push(value);
        }
        series.latency = together(series.latency.take(), reading.latency);
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

/// Both histograms in one.
fn together(before: Option<Latency>, more: Option<Latency>) -> Option<Latency> {
    match (before, more) {
        (Some(mut before), Some(more)) => {
            before += more;
            Some(before)
        }
        (before, more) => before.or(more),
    }
}

/// The same in every round is said once.
fn push_new(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::latencies;

    #[test]
    fn rounds_of_a_subject_become_one_series() {
        let mut section = Section::default();
        let course = Course { rounds: 2, subjects: &["pollux"], works: &[8, 64] };
        course.run(&mut section, |_, ports| {
            let latency = Some(latencies([1_000]));
            Ok(Reading { value: 1.0, x: Some(f64::from(*ports)), latency, ..Reading::default() })
        });
        let series = section.find("pollux", "64").unwrap();
        assert_eq!((section.series.len(), &series.values[..], series.x), (2, &[1.0, 1.0][..], Some(64.0)));
        assert_eq!(series.latency.as_ref().unwrap().len(), 2);
    }
}
