//! Lists of numbers in JSON, where a measurement that failed (NaN) is `null`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

fn known(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().map(|value| value.is_finite().then_some(*value)).collect()
}

fn read(values: Vec<Option<f64>>) -> Vec<f64> {
    values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect()
}

/// `Vec<f64>`.
pub mod list {
    use super::*;

    pub fn serialize<S: Serializer>(values: &[f64], to: S) -> Result<S::Ok, S::Error> {
        known(values).serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
        Deserialize::deserialize(from).map(read)
    }
}

/// Lists by name.
pub mod map {
    use super::*;
    use std::collections::BTreeMap;

    type Lists = BTreeMap<String, Vec<f64>>;

    pub fn serialize<S: Serializer>(lists: &Lists, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(lists.iter().map(|(name, values)| (name, known(values))))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Lists, D::Error> {
        let lists: BTreeMap<String, Vec<Option<f64>>> = Deserialize::deserialize(from)?;
        Ok(lists.into_iter().map(|(name, values)| (name, read(values))).collect())
    }
}
