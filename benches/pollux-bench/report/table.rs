//! Markdown, for people and the README.

use super::{Latency, PERCENTILES, Section, Series};
use crate::sample::{median, spread};
use std::fmt::Write;

impl Section {
    /// As Markdown tables.
    pub fn markdown(&self) -> String {
        let Self { name, title, unit, .. } = self;
        let mut text =
            format!("### {name}\n\n{title}\n\n| work | subject | {unit}, median | quartiles | min–max | n |");
        let columns = self.references.iter().map(|reference| format!(" ÷ {reference} |")).collect::<String>();
        let rule = "---|".repeat(7 + self.references.len());
        // writing to a String does not fail
        let _ = writeln!(text, "{columns} and |\n|{rule}");
        for series in &self.series {
            let _ = writeln!(text, "{}", self.row(series));
        }
        text += &self.latency_table();
        for remark in &self.remarks {
            let _ = writeln!(text, "\n{remark}");
        }
        for fault in &self.faults {
            let _ = writeln!(text, "\n**{fault}**");
        }
        text
    }

    fn row(&self, series: &Series) -> String {
        let of = spread(&series.values);
        let ratios = self.ratios(series).map(|(_, ratio)| format!(" {} |", figure(ratio))).collect::<String>();
        let (work, subject, facts) = (&series.work, &series.subject, facts(series));
        let (middle, low, high) = (figure(of.median), figure(of.low), figure(of.high));
        let (min, max) = (figure(of.min), figure(of.max));
        format!("| {work} | {subject} | {middle} | {low}–{high} | {min}–{max} | {} |{ratios} {facts} |", of.n)
    }

    /// Percentiles of the series that have a latency.
    fn latency_table(&self) -> String {
        let rows = self.series.iter().filter_map(|series| Some((series, series.latency.as_ref()?)));
        let rows: String = rows
            .map(|(series, latency)| format!("| {} | {} |{}\n", series.work, series.subject, percentiles(latency)))
            .collect();
        if rows.is_empty() {
            return rows;
        }
        let names = PERCENTILES.iter().map(|(name, _)| format!(" {name} |")).collect::<String>();
        format!("\n| µs of work | subject |{names} n |\n|{}\n{rows}", "---|".repeat(3 + PERCENTILES.len()))
    }
}

/// A row's cells, in microseconds.
fn percentiles(latency: &Latency) -> String {
    let at = |(_, share): &(&str, f64)| format!(" {} |", figure(latency.value_at_quantile(*share) as f64 / 1e3));
    PERCENTILES.iter().map(at).collect::<String>() + &format!(" {} |", latency.len())
}

/// The facts of a row: name and median of each.
fn facts(series: &Series) -> String {
    let facts = series.facts.iter().map(|(name, values)| format!("{name} {}", figure(median(values))));
    facts.collect::<Vec<_>>().join(", ")
}

/// Three significant digits; a dash for what was not measured.
pub fn figure(value: f64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::latencies;

    fn section() -> Section {
        let series = |subject: &str, values: [f64; 3]| Series {
            subject: subject.into(),
            work: "64 B".into(),
            values: values.into(),
            ..Series::default()
        };
        Section {
            name: "xdp".into(),
            unit: "Mpps".into(),
            references: vec!["bridge".into()],
            series: vec![series("pollux", [2.0, 4.0, f64::NAN]), series("bridge", [1.0, 2.0, 2.0])],
            ..Section::default()
        }
    }

    #[test]
    fn rows_carry_the_ratio_to_the_reference() {
        let text = section().markdown();
        assert!(text.contains("| 64 B | pollux | 3.00 | 2.50–3.50 | 2.00–4.00 | 2 | 2.00 |"), "{text}");
        assert!(!text.contains("P99"), "{text}");
    }

    #[test]
    fn latencies_have_a_table_of_percentiles() {
        let mut section = section();
        section.series[0].latency = Some(latencies([5_000, 7_000, 9_000]));
        let text = section.markdown();
        assert!(text.contains("| 64 B | pollux | 7.00 |"), "{text}");
    }
}
