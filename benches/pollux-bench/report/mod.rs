//! Results: what was measured, as a model that the table, the JSON and the pages are made of.
//!
//! A [`Section`] is a table: the [`Series`] of each subject with each work, one value per round.

mod latency;
mod number;
mod page;
mod results;
mod table;

pub use latency::{Latency, PERCENTILES, latencies};
pub use results::Results;
pub use table::figure;

use crate::sample::{paired_ratio, spread};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Words that are in the program, or were read from a file.
pub type Text = Cow<'static, str>;

/// Which figures are the good ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Throughput.
    #[default]
    More,
    /// Time, CPU, memory.
    Less,
}

/// What a section looks like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Works that have nothing to do with each other.
    #[default]
    Bars,
    /// Works are points of an axis; every series has its [`x`](Series::x).
    Curve {
        /// What grows, with its unit.
        x: Text,
        /// Whether the axis is one of powers.
        log: bool,
    },
}

/// All figures of one subject for one work.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// Who.
    pub subject: String,
    /// What.
    pub work: String,
    /// Where the work lies on the axis of a curve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x: Option<f64>,
    /// One figure per round; NaN where the measurement failed.
    #[serde(with = "number::list")]
    pub values: Vec<f64>,
    /// Figures that go with it.
    #[serde(with = "number::map")]
    pub facts: BTreeMap<String, Vec<f64>>,
    /// Times in nanoseconds, of all rounds together.
    #[serde(with = "latency::buckets", skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// A table.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Section {
    /// Name of the case.
    pub name: Text,
    /// What was measured, in a sentence.
    pub title: Text,
    /// Of the figures.
    pub unit: Text,
    /// Which figures are the good ones.
    pub better: Better,
    /// A difference below this, in the unit of the figures, does not matter.
    pub grain: f64,
    /// What it looks like.
    pub shape: Shape,
    /// The subjects all are compared with.
    pub references: Vec<String>,
    /// Rows.
    #[serde(rename = "rows")]
    pub series: Vec<Series>,
    /// Faults.
    pub faults: Vec<String>,
    /// Remarks.
    pub remarks: Vec<String>,
}

impl Series {
    /// Whether it is Pollux that was measured.
    pub fn is_ours(&self) -> bool {
        self.subject.starts_with("pollux")
    }
}

impl Section {
    /// The series of a subject with a work.
    pub fn find(&self, subject: &str, work: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.subject == subject && series.work == work)
    }

    /// The ratio to each reference of the same work, by pairs.
    pub fn ratios<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (&'a str, f64)> {
        self.references.iter().map(move |reference| {
            let peer = self.find(reference, &series.work);
            (reference.as_str(), peer.map_or(f64::NAN, |peer| paired_ratio(&series.values, &peer.values)))
        })
    }

    /// The works, in the order they were done.
    pub fn works(&self) -> Vec<&str> {
        distinct(self.series.iter().map(|series| series.work.as_str()))
    }

    /// The subjects, in the order they were measured.
    pub fn subjects(&self) -> Vec<&str> {
        distinct(self.series.iter().map(|series| series.subject.as_str()))
    }

    /// The largest value of any round.
    pub fn largest(&self) -> f64 {
        self.series.iter().map(|series| spread(&series.values).max).fold(0.0, f64::max)
    }
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names.fold(Vec::new(), |mut list, name| {
        if !list.contains(&name) {
            list.push(name);
        }
        list
    })
}
