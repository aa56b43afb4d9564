//! Latencies: histograms of nanoseconds.

use hdrhistogram::Histogram;

/// Nanoseconds, to three digits.
pub type Latency = Histogram<u64>;

/// What is said of a latency, as shares of the frames.
pub const PERCENTILES: [(&str, f64); 6] =
    [("P50", 0.5), ("P90", 0.9), ("P99", 0.99), ("P99.9", 0.999), ("P99.99", 0.9999), ("max", 1.0)];

/// A histogram of times.
pub fn latencies(ns: impl IntoIterator<Item = u64>) -> Latency {
    let mut histogram = empty();
    for time in ns {
        histogram.saturating_record(time);
    }
    histogram
}

/// Longer times count as this: a minute.
const LONGEST: u64 = 60_000_000_000;

fn empty() -> Latency {
    let digits = 3;
    Histogram::new_with_bounds(1, LONGEST, digits).unwrap_or_else(|_| unreachable!("one of the bounds allowed"))
}

/// In JSON: how often each time was seen, `[[ns, count], ...]`.
pub mod buckets {
    use super::{Latency, empty};
    use serde::{Deserialize, Deserializer, Serializer};

    #[allow(clippy::ref_option, reason = "the signature is serde's")]
    pub fn serialize<S: Serializer>(latency: &Option<Latency>, to: S) -> Result<S::Ok, S::Error> {
        let seen = latency.iter().flat_map(Latency::iter_recorded);
        to.collect_seq(seen.map(|step| [step.value_iterated_to(), step.count_since_last_iteration()]))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Latency>, D::Error> {
        let buckets: Option<Vec<[u64; 2]>> = Deserialize::deserialize(from)?;
        Ok(buckets.map(|buckets| {
            let mut latency = empty();
            buckets.into_iter().for_each(|[ns, count]| latency.saturating_record_n(ns, count));
            latency
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_those_of_the_times_recorded() {
        let latency = latencies((1..=10_000).map(|n| n * 1000));
        let tail = latency.value_at_quantile(PERCENTILES[3].1) as f64;
        assert!((tail / 9_990_000.0 - 1.0).abs() < 0.002, "{tail}");
    }
}
