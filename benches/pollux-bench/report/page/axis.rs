//! Axes: where a value lies, and at which values there are marks.

/// Values along a stretch of the drawing.
#[derive(Clone, Debug)]
pub struct Axis {
    low: f64,
    high: f64,
    from: f64,
    to: f64,
    log: bool,
}

impl Axis {
    /// From zero to at least `high`, between the places `from` and `to`.
    pub fn linear(high: f64, from: f64, to: f64) -> Self {
        Self { low: 0.0, high: if high > 0.0 { high } else { 1.0 }, from, to, log: false }
    }

    /// From `low` to `high`, each power as long as the other.
    pub fn log(low: f64, high: f64, from: f64, to: f64) -> Self {
        let low = low.max(f64::MIN_POSITIVE);
        Self { low, high: high.max(low * 1.001), from, to, log: true }
    }

    /// Between values, not from zero.
    pub fn between(low: f64, high: f64, from: f64, to: f64) -> Self {
        Self { low, high: if high > low { high } else { low + 1.0 }, from, to, log: false }
    }

    /// The place of a value; what lies beyond is at the end.
    pub fn at(&self, value: f64) -> f64 {
        let share = match self.log {
            true => (value.max(self.low) / self.low).ln() / (self.high / self.low).ln(),
            false => (value - self.low) / (self.high - self.low),
        };
        self.from + (self.to - self.from) * share.clamp(0.0, 1.0)
    }

    /// Values to mark: round ones.
    pub fn marks(&self) -> Vec<f64> {
        if self.log { self.powers() } else { self.steps() }
    }

    fn steps(&self) -> Vec<f64> {
        let rough = (self.high - self.low) / 5.0;
        let power = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let mut marks = Vec::new();
        let mut mark = (self.low / step).ceil() * step;
        while mark <= self.high * 1.000_001 {
            marks.push(mark);
            mark += step;
        }
        marks
    }

    fn powers(&self) -> Vec<f64> {
        let decades = (self.high / self.low).log10();
        let within: &[f64] = if decades < 1.6 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let mut marks = Vec::new();
        let mut power = 10f64.powf(self.low.log10().floor());
        while power <= self.high {
            let more = within.iter().map(|n| n * power);
            marks.extend(more.filter(|mark| (self.low * 0.999..=self.high * 1.001).contains(mark)));
            power *= 10.0;
        }
        marks
    }
}

/// A value at a mark: short.
pub fn short(value: f64) -> String {
    let (n, unit) = match value.abs() {
        size if size >= 1e6 => (value / 1e6, " M"),
        size if size >= 1e4 => (value / 1e3, " k"),
        _ => (value, ""),
    };
    let text = format!("{n:.3}");
    format!("{}{unit}", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_round_and_within() {
        assert_eq!(Axis::linear(0.97, 0.0, 100.0).marks().len(), 5);
        assert_eq!(Axis::linear(21.0, 0.0, 100.0).marks(), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(Axis::log(7.0, 900.0, 0.0, 1.0).marks(), [10.0, 100.0]);
        assert_eq!(Axis::log(7.0, 70.0, 0.0, 1.0).marks(), [10.0, 20.0, 50.0]);
    }

    #[test]
    fn places_are_between_the_ends() {
        let axis = Axis::log(1.0, 100.0, 10.0, 30.0);
        assert_eq!([0.1, 1.0, 10.0, 1e6].map(|value| axis.at(value).round()), [10.0, 10.0, 20.0, 30.0]);
        assert_eq!(Axis::linear(0.0, 0.0, 5.0).at(0.0), 0.0);
    }

    #[test]
    fn big_numbers_are_short() {
        assert_eq!([0.25, 50.0, 1000.0, 20_000.0, 1e6].map(short), ["0.25", "50", "1000", "20 k", "1 M"]);
    }
}
