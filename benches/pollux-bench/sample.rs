//! Medians and ratios of few, noisy values.

/// The value below which the share `q` (0 to 1) of the values lies, interpolated; NaN if there are none.
pub fn quantile(values: &[f64], q: f64) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = q.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (sorted.get(floor(place)), sorted.get(floor(place) + 1));
    match (low, high) {
        (Some(low), Some(high)) => low + (high - low) * place.fract(),
        _ => sorted[last],
    }
}

/// Statistics of a few values.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// How many there are; what failed does not count.
    pub n: usize,
    /// The one in the middle.
    pub median: f64,
    /// A quarter lies below.
    pub low: f64,
    /// A quarter lies above.
    pub high: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

/// How values lie; NaN everywhere if there are none.
pub fn spread(values: &[f64]) -> Spread {
    let [min, low, median, high, max] = [0.0, 0.25, 0.5, 0.75, 1.0].map(|q| quantile(values, q));
    Spread { n: values.iter().filter(|value| value.is_finite()).count(), median, low, high, min, max }
}

/// The one in the middle.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The median of the ratios of values that were measured in the same round. A round in which either is missing (NaN)
/// does not count.
pub fn paired_ratio(values: &[f64], references: &[f64]) -> f64 {
    median(&pairs(values, references))
}

/// The ratio of each round.
pub fn pairs(values: &[f64], references: &[f64]) -> Vec<f64> {
    values.iter().zip(references).map(|(value, reference)| value / reference).collect()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index into the slice it came from")]
fn floor(place: f64) -> usize {
    place as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
        assert_eq!(median(&[7.0]), 7.0);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn quantiles_of_the_ends_are_the_ends() {
        let values = [5.0, 1.0, 9.0];
        assert_eq!((quantile(&values, 0.0), quantile(&values, 1.0)), (1.0, 9.0));
    }

    #[test]
    fn rounds_without_both_values_do_not_count() {
        assert_eq!(paired_ratio(&[2.0, f64::NAN, 9.0], &[1.0, 1.0, 3.0]), 2.5);
        assert!(paired_ratio(&[f64::NAN], &[1.0]).is_nan());
    }
}
