//! Two runs compared: what got slower beyond the noise.
//!
//! A figure is compared with that of the same subject and work in the run before. Three things are subtracted first:
//!
//! - **Drift**: the peers did not change between the runs, so the change of their figures for the same work (median) is due
//!   to the machine. It is removed from all figures.
//! - **Noise**: the interquartile range of the rounds over their median, of both runs together; and that of the peers (median),
//!   which limits how well the drift is known.
//! - **Grain**: differences too small to matter, by section; at least 5 %.
//!
//! With fewer than three rounds there is no spread, and nothing is judged.

use crate::failure::{Result, fail};
use crate::report::{Better, Results, Section, Series, figure};
use crate::sample::{Spread, median, spread};
use std::fmt::{self, Display};

/// Changes below this are noise, whatever the rounds say.
const FLOOR: f64 = 0.05;
/// Rounds without which nothing can be said.
const ROUNDS: usize = 3;

/// The verdict on a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Worse, beyond the noise.
    Slower,
    /// Was measured before, and no round of it succeeded now.
    Failed,
    /// Better, beyond the noise.
    Faster,
    /// Within the noise.
    Same,
    /// Too few rounds.
    Unjudged,
}

/// A figure then and now.
#[derive(Debug)]
pub struct Change {
    what: String,
    unit: String,
    before: f64,
    now: f64,
    /// How many times worse it got, after the drift.
    worse: f64,
    /// How many times worse the peers got.
    drift: f64,
    /// Share by which it may differ within the noise.
    noise: f64,
    /// What that says.
    pub verdict: Verdict,
}

/// All that both runs have.
#[derive(Debug)]
pub struct Comparison {
    /// Every figure of ours.
    pub changes: Vec<Change>,
    /// Where the machines differ.
    machines: Vec<String>,
    /// Remarks on a run that did not end.
    partial: Vec<String>,
}

/// Compares our figures of two runs.
pub fn compare(old: &Results, new: &Results) -> Result<Comparison> {
    let mut changes = Vec::new();
    for section in &new.sections {
        let Some(before) = old.sections.iter().find(|before| before.name == section.name) else { continue };
        let ours = section.series.iter().filter(|series| series.is_ours());
        changes.extend(ours.filter_map(|series| change(before, section, series)));
    }
    if changes.is_empty() {
        return fail("the two results have no figure of Pollux in common: nothing to compare");
    }
    Ok(Comparison { changes, machines: machines(old, new), partial: partial(old, new) })
}

fn change(before: &Section, section: &Section, series: &Series) -> Option<Change> {
    let then = spread(&before.find(&series.subject, &series.work)?.values);
    let now = spread(&series.values);
    let (drift, doubt) = drift(before, section, &series.work);
    let worse = worse(section.better, then.median, now.median) / drift;
    let noise = FLOOR.max(relative(then) + relative(now) + doubt);
    let expected = match section.better {
        Better::More => then.median / drift,
        Better::Less => then.median * drift,
    };
    let small = (now.median - expected).abs() <= section.grain;
    let verdict = match () {
        () if then.n > 0 && now.n == 0 => Verdict::Failed,
        () if then.n.min(now.n) < ROUNDS => Verdict::Unjudged,
        () if small => Verdict::Same,
        () if worse > 1.0 + noise => Verdict::Slower,
        () if worse < 1.0 / (1.0 + noise) => Verdict::Faster,
        () => Verdict::Same,
    };
    let what = format!("{}, {}: {}", section.name, series.work, series.subject);
    let (before, now) = (then.median, now.median);
    Some(Change { what, unit: section.unit.to_string(), before, now, worse, drift, noise, verdict })
}

/// How many times worse.
fn worse(better: Better, then: f64, now: f64) -> f64 {
    match better {
        Better::More => then / now,
        Better::Less => now / then,
    }
}

/// The spread of the rounds, relative to their median.
fn relative(of: Spread) -> f64 {
    if of.median == 0.0 { 0.0 } else { (of.high - of.low) / of.median.abs() }
}

/// How many times worse the peers' figures for the same work got, and how sure that is.
fn drift(before: &Section, section: &Section, work: &str) -> (f64, f64) {
    let peers = section.series.iter().filter(|series| series.work == work && !series.is_ours());
    let both = peers.filter_map(|peer| Some((before.find(&peer.subject, work)?, peer)));
    let both = both.map(|(then, now)| (spread(&then.values), spread(&now.values)));
    let judged = both.filter(|(then, now)| then.n.min(now.n) >= ROUNDS && then.median > 0.0 && now.median > 0.0);
    let (changes, noises): (Vec<f64>, Vec<f64>) = judged
        .map(|(then, now)| (worse(section.better, then.median, now.median), relative(then) + relative(now)))
        .unzip();
    if changes.is_empty() { (1.0, 0.0) } else { (median(&changes), median(&noises)) }
}

/// Which of the runs did not end.
fn partial(old: &Results, new: &Results) -> Vec<String> {
    let runs = [("then", old), ("now", new)].into_iter();
    runs.filter_map(|(when, run)| Some(format!("{when}: {}", run.partial()?))).collect()
}

/// Facts of the machine by which figures may differ.
fn machines(old: &Results, new: &Results) -> Vec<String> {
    let facts = ["cpu", "cores", "kernel", "mitigations", "governor", "turbo", "isolated", "tcp", "dpdk", "ovs", "vpp"];
    let fact = |results: &Results, name: &str| results.host.get(name).and_then(|fact| fact.as_str()).map(str::to_owned);
    let differs = facts.iter().filter_map(|name| {
        let (before, now) = (fact(old, name), fact(new, name));
        let text = |fact: Option<String>| fact.unwrap_or_else(|| "unknown".to_owned());
        (before != now).then(|| format!("{name}: {} then, {} now", text(before), text(now)))
    });
    differs.collect()
}

impl Comparison {
    /// Whether nothing got slower.
    pub fn is_good(&self) -> bool {
        self.changes.iter().all(|change| !matches!(change.verdict, Verdict::Slower | Verdict::Failed))
    }

    fn with(&self, verdict: Verdict) -> impl Iterator<Item = &Change> {
        self.changes.iter().filter(move |change| change.verdict == verdict)
    }
}

impl Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for partial in &self.partial {
            writeln!(f, "{partial}")?;
        }
        for difference in &self.machines {
            writeln!(f, "the machines differ: {difference}")?;
        }
        for (verdict, word) in [(Verdict::Failed, "FAILED"), (Verdict::Slower, "SLOWER"), (Verdict::Faster, "faster")] {
            for change in self.with(verdict) {
                writeln!(f, "{word}  {change}")?;
            }
        }
        let count = |verdict| self.with(verdict).count();
        let slower = count(Verdict::Slower) + count(Verdict::Failed);
        let (faster, same) = (count(Verdict::Faster), count(Verdict::Same));
        write!(f, "{slower} slower, {faster} faster, {same} within the noise")?;
        match count(Verdict::Unjudged) {
            0 => writeln!(f),
            n => writeln!(f, "; {n} not judged (that takes {ROUNDS} rounds)"),
        }
    }
}

impl Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, unit, .. } = self;
        write!(f, "{what}: {} → {} {unit}", figure(self.before), figure(self.now))?;
        if self.now.is_finite() {
            let (worse, drift) = (times(self.worse), times(self.drift));
            write!(f, " ({worse}, noise {:.0} %, peers {drift})", self.noise * 100.0)?;
        }
        Ok(())
    }
}

/// A factor in words: more than one is worse.
fn times(worse: f64) -> String {
    match worse {
        _ if (worse - 1.0).abs() < 0.005 => "unchanged".to_owned(),
        _ if worse > 1.0 => format!("{worse:.2} × worse"),
        _ => format!("{:.2} × better", 1.0 / worse),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Map;

    fn results(better: Better, ours: &[f64], peer: &[f64]) -> Results {
        let series = |subject: &str, values: &[f64]| Series {
            subject: subject.into(),
            work: "64 B".into(),
            values: values.to_vec(),
            ..Series::default()
        };
        let series = vec![series("pollux, busy", ours), series("bridge", peer)];
        let section =
            Section { name: "xdp".into(), unit: "Mpps".into(), better, grain: 0.01, series, ..Section::default() };
        Results::new(Map::new(), vec![section])
    }

    fn verdict(better: Better, old: [&[f64]; 2], new: [&[f64]; 2]) -> Verdict {
        let [old, new] = [old, new].map(|[ours, peer]| results(better, ours, peer));
        compare(&old, &new).unwrap().changes[0].verdict
    }

    const STEADY: &[f64] = &[1.0, 1.01, 0.99];

    #[test]
    fn less_throughput_and_more_time_are_slower() {
        assert_eq!(verdict(Better::More, [STEADY, STEADY], [&[0.8, 0.81, 0.79], STEADY]), Verdict::Slower);
        assert_eq!(verdict(Better::Less, [STEADY, STEADY], [&[0.8, 0.81, 0.79], STEADY]), Verdict::Faster);
        assert_eq!(verdict(Better::Less, [STEADY, STEADY], [&[1.2, 1.21, 1.19], STEADY]), Verdict::Slower);
    }

    #[test]
    fn a_machine_that_got_slower_is_no_fault_of_ours() {
        let slow: &[f64] = &[0.7, 0.71, 0.69];
        assert_eq!(verdict(Better::More, [STEADY, STEADY], [slow, slow]), Verdict::Same);
        assert_eq!(verdict(Better::More, [STEADY, STEADY], [STEADY, slow]), Verdict::Faster);
    }

    #[test]
    fn what_varies_between_rounds_may_vary_between_runs() {
        let (wild, lower): (&[f64], &[f64]) = (&[0.8, 1.0, 1.2], &[0.7, 0.9, 1.0]);
        assert_eq!(verdict(Better::More, [wild, STEADY], [lower, STEADY]), Verdict::Same);
    }

    #[test]
    fn differences_below_the_grain_are_none() {
        let (idle, twice): (&[f64], &[f64]) = (&[0.002, 0.002, 0.002], &[0.004, 0.004, 0.004]);
        assert_eq!(verdict(Better::Less, [idle, STEADY], [twice, STEADY]), Verdict::Same);
    }

    #[test]
    fn two_rounds_prove_nothing_and_none_is_a_failure() {
        assert_eq!(verdict(Better::More, [STEADY, STEADY], [&[0.5, 0.5], STEADY]), Verdict::Unjudged);
        assert_eq!(verdict(Better::More, [STEADY, STEADY], [&[f64::NAN; 3], STEADY]), Verdict::Failed);
    }

    #[test]
    fn a_run_that_did_not_end_is_said_to_be_so() {
        let whole = results(Better::More, STEADY, STEADY);
        let partial = whole.with_unfinished(&[]);
        let text = compare(&whole, &partial).unwrap().to_string();
        assert!(text.starts_with("now: partial: the run ended early;"), "{text}");
    }

    #[test]
    fn the_words_name_what_got_slower() {
        let old = results(Better::More, STEADY, STEADY);
        let comparison = compare(&old, &results(Better::More, &[0.5, 0.5, 0.5], STEADY)).unwrap();
        let text = comparison.to_string();
        assert!(
            text.starts_with("SLOWER  xdp, 64 B: pollux, busy: 1.00 → 0.50 Mpps (2.00 × worse, noise 5 %"),
            "{text}"
        );
        assert!(!comparison.is_good());
        assert!(compare(&old, &Results::new(Map::new(), Vec::new())).is_err());
    }
}
