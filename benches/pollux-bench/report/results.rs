//! The results of a run, as the JSON document that `report` and `compare` read.

use super::{PERCENTILES, Section, Series};
use crate::failure::{During, Result, fail};
use crate::sample::spread;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fs;
use std::path::Path;

/// Version of the JSON's shape.
const VERSION: u32 = 2;
/// Among the facts of the machine, for a run that did not end: the sections under way.
const PARTIAL: &str = "partial";

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Results {
    v: u32,
    /// The machine and the programs.
    pub host: Map<String, Value>,
    /// Tables.
    pub sections: Vec<Section>,
}

impl Results {
    /// Of a machine and what was measured on it.
    pub fn new(host: Map<String, Value>, sections: Vec<Section>) -> Self {
        Self { v: VERSION, host, sections }
    }

    /// Reads what [`json`](Self::json) made.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).during(path.display())?;
        let version: Value = serde_json::from_str(&text).during(path.display())?;
        if version["v"] != VERSION {
            return fail(format!("{}: not results of this version of pollux-bench: measure again", path.display()));
        }
        serde_json::from_str(&text).during(path.display())
    }

    /// As a JSON document: the values, and the statistics that follow from them.
    pub fn json(&self) -> String {
        let sections: Vec<Value> = self.sections.iter().map(of_section).collect();
        json!({"v": self.v, "host": self.host, "sections": sections}).to_string()
    }

    /// The same of a run that is not over: with the sections it is at.
    pub fn with_unfinished(&self, unfinished: &[Section]) -> Self {
        let mut host = self.host.clone();
        let names: Vec<Value> = unfinished.iter().map(|section| section.name.as_ref().into()).collect();
        host.insert(PARTIAL.to_owned(), names.into());
        Self::new(host, [&self.sections, unfinished].concat())
    }

    /// The sections at which the run was interrupted, if it was; none of them if it was between two.
    pub fn unfinished(&self) -> Option<Vec<&str>> {
        let names = self.host.get(PARTIAL)?.as_array()?;
        Some(names.iter().filter_map(Value::as_str).collect())
    }

    /// Remarks on a run that did not end.
    pub fn partial(&self) -> Option<String> {
        let at = self.unfinished()?.join(", ");
        let at = if at.is_empty() { at } else { format!(" during {at}") };
        Some(format!("partial: the run ended early{at}; this is what was measured until then"))
    }

    /// Whether nothing was wrong.
    pub fn sound(&self) -> bool {
        self.sections.iter().all(|section| section.faults.is_empty())
    }
}

fn of_section(section: &Section) -> Value {
    let mut value = json!(section);
    let rows: Vec<Value> = section.series.iter().map(|series| of_series(section, series)).collect();
    value["rows"] = rows.into();
    value
}

fn of_series(section: &Section, series: &Series) -> Value {
    let mut value = json!(series);
    let of = spread(&series.values);
    value["n"] = of.n.into();
    for (name, figure) in [("median", of.median), ("q1", of.low), ("q3", of.high), ("min", of.min), ("max", of.max)] {
        value[name] = figure.into();
    }
    let ratios = section.ratios(series).map(|(reference, ratio)| (reference.to_owned(), json!(ratio)));
    value["ratio"] = Value::Object(ratios.collect());
    if let Some(latency) = &series.latency {
        let at = |(name, share): &(&str, f64)| ((*name).to_owned(), json!(latency.value_at_quantile(*share)));
        value["latency_ns"] = Value::Object(PERCENTILES.iter().map(at).collect());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{Shape, latencies};

    fn results() -> Results {
        let series = |subject: &str, values: [f64; 3]| Series {
            subject: subject.into(),
            work: "64 B".into(),
            values: values.into(),
            latency: Some(latencies([1_000, 1_000, 2_000_000])),
            ..Series::default()
        };
        let section = Section {
            references: vec!["bridge".into()],
            shape: Shape::Curve { x: "stations".into(), log: true },
            series: vec![series("pollux", [2.0, 4.0, f64::NAN]), series("bridge", [1.0, 2.0, 2.0])],
            ..Section::default()
        };
        Results::new(Map::new(), vec![section])
    }

    #[test]
    fn a_failed_measurement_is_null_in_json() {
        let answer: Value = serde_json::from_str(&results().json()).unwrap();
        let row = &answer["sections"][0]["rows"][0];
        assert_eq!(row["values"][2], Value::Null);
        assert_eq!(row["ratio"]["bridge"], 2.0);
        assert_eq!((&row["n"], &row["median"]), (&json!(2), &json!(3.0)));
        assert_eq!(row["latency_ns"]["P50"], 1_000);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), results().json()).unwrap();
        let read = Results::read(file.path()).unwrap();
        assert_eq!(read.json(), results().json());
        let latency = read.sections[0].series[0].latency.as_ref().unwrap();
        assert_eq!((latency.len(), latency.value_at_quantile(0.5)), (3, 1_000));
    }
}
