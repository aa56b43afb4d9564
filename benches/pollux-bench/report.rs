//! Results: as Markdown for people and the README, as JSON for programs.

use crate::sample::{median, paired_ratio, quantile};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// Version of the JSON's shape.
const VERSION: u32 = 1;

/// All that one subject did with one kind of work.
#[derive(Debug, Default)]
pub struct Series {
    /// Who.
    pub subject: String,
    /// What.
    pub work: String,
    /// One figure per round; NaN where the measurement failed.
    pub values: Vec<f64>,
    /// Figures that go with it.
    pub facts: BTreeMap<String, Vec<f64>>,
}

/// A table.
#[derive(Debug, Default)]
pub struct Section {
    /// Name of the case.
    pub name: &'static str,
    /// What was measured, in a sentence.
    pub title: &'static str,
    /// Of the figures.
    pub unit: &'static str,
    /// The subjects all are compared with.
    pub references: Vec<String>,
    /// Rows.
    pub series: Vec<Series>,
    /// What must not be and was.
    pub faults: Vec<String>,
    /// What a reader should know.
    pub remarks: Vec<String>,
}

impl Section {
    /// The ratio to each reference of the same work, by pairs.
    fn ratios<'a>(&'a self, series: &'a Series) -> impl Iterator<Item = (&'a str, f64)> {
        self.references.iter().map(move |reference| {
            let peer = self.series.iter().find(|peer| peer.subject == *reference && peer.work == series.work);
            (reference.as_str(), peer.map_or(f64::NAN, |peer| paired_ratio(&series.values, &peer.values)))
        })
    }

    /// As a Markdown table.
    pub fn markdown(&self) -> String {
        let Self { name, title, unit, .. } = self;
        let mut text = format!("### {name}\n\n{title}\n\n| work | subject | {unit}, median | quartiles |");
        let columns = self.references.iter().map(|reference| format!(" ÷ {reference} |")).collect::<String>();
        let rule = "---|".repeat(5 + self.references.len());
        // writing to a String does not fail
        let _ = writeln!(text, "{columns} and |\n|{rule}");
        for series in &self.series {
            let (low, high) = (quantile(&series.values, 0.25), quantile(&series.values, 0.75));
            let spread = format!("{}–{}", figure(low), figure(high));
            let ratios = self.ratios(series).map(|(_, ratio)| format!(" {} |", figure(ratio))).collect::<String>();
            let (work, subject, middle) = (&series.work, &series.subject, figure(median(&series.values)));
            let _ = writeln!(text, "| {work} | {subject} | {middle} | {spread} |{ratios} {} |", facts(series));
        }
        for remark in &self.remarks {
            let _ = writeln!(text, "\n{remark}");
        }
        for fault in &self.faults {
            let _ = writeln!(text, "\n**{fault}**");
        }
        text
    }

    fn json(&self) -> Value {
        let row = |series: &Series| {
            let ratios = self.ratios(series).map(|(reference, ratio)| (reference.to_owned(), json!(ratio)));
            json!({
                "subject": series.subject, "work": series.work, "values": series.values,
                "median": median(&series.values),
                "ratio": ratios.collect::<Map<_, _>>(),
                "facts": series.facts,
            })
        };
        let rows: Vec<Value> = self.series.iter().map(row).collect();
        json!({
            "name": self.name, "title": self.title, "unit": self.unit, "rows": rows,
            "faults": self.faults, "remarks": self.remarks,
        })
    }
}

/// The facts of a row: name and median of each.
fn facts(series: &Series) -> String {
    let facts = series.facts.iter().map(|(name, values)| format!("{name} {}", figure(median(values))));
    facts.collect::<Vec<_>>().join(", ")
}

/// Three significant digits; a dash for what was not measured.
fn figure(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if !value.is_finite() => "–".to_owned(),
        _ if size == 0.0 => "0".to_owned(),
        _ if size >= 100.0 => format!("{value:.0}"),
        _ if size >= 10.0 => format!("{value:.1}"),
        _ if size >= 0.01 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// All sections as one JSON document.
pub fn json(host: Map<String, Value>, sections: &[Section]) -> String {
    let sections: Vec<Value> = sections.iter().map(Section::json).collect();
    json!({"v": VERSION, "host": host, "sections": sections}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section() -> Section {
        let series = |subject: &str, values: [f64; 3]| Series {
            subject: subject.into(),
            work: "64 B".into(),
            values: values.into(),
            ..Series::default()
        };
        Section {
            name: "xdp",
            unit: "Mpps",
            references: vec!["bridge".into()],
            series: vec![series("pollux", [2.0, 4.0, f64::NAN]), series("bridge", [1.0, 2.0, 2.0])],
            ..Section::default()
        }
    }

    #[test]
    fn rows_carry_the_ratio_to_the_reference() {
        let text = section().markdown();
        assert!(text.contains("| 64 B | pollux | 3.00 | 2.50–3.50 | 2.00 |"), "{text}");
    }

    #[test]
    fn a_failed_measurement_is_null_in_json() {
        let answer = section().json();
        assert_eq!(answer["rows"][0]["values"][2], Value::Null);
        assert_eq!(answer["rows"][0]["ratio"]["bridge"], 2.0);
    }
}
