//! The highest rate whose loss is within a goal, on a machine where other load may spoil a trial.
//!
//! A bisection between a rate that held and one that did not. A trial with too much loss is repeated before it is believed
//! (loss verification, ETSI GS NFV-TST 009 §12.3): the rate is refused only if every repetition was lossy too. A rate that
//! held once may have been lucky, so the answer must hold again at the end; if it does not, the search goes on below it.
//! Trials are remembered: a second goal begins where the first ended.

use std::fmt::Debug;

/// What a trial at a rate showed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shown {
    /// Frames per second that were really sent.
    pub offered: f64,
    /// Share of them that was lost, 0 to 1.
    pub loss: f64,
    /// The sender was held up itself and then sent in a rush, or the sink was: a loss says nothing of the switch.
    pub hampered: bool,
}

/// How to search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// The rate not worth looking below, frames per second.
    pub lowest: f64,
    /// Frames per second beyond what the sender can do.
    pub highest: f64,
    /// The answer's distance to the lowest rate that did not hold, as a share of it.
    pub width: f64,
    /// How often a lossy trial is repeated before it is believed.
    pub repeats: u32,
}

/// The answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The highest rate that held, frames per second; 0 if not even the lowest did.
    pub rate: f64,
    /// The sender could not offer more: the switch may be faster.
    pub bound_by_sender: bool,
    /// Trials it took.
    pub trials: u32,
}

/// Below this share of the requested rate, the sender is at its limit.
const OFFERED: f64 = 0.97;
/// A bracket of 1 to 20 M is halved to 0.1 % in so many steps, also if some are wasted.
const STEPS: u32 = 50;
/// Spoiled trials of a rate that are discarded; a machine that delays the sender more often cannot measure it.
const SPOILED: u32 = 8;
/// More failures of the final check would mean that the machine changes under the search.
const CONFIRMATIONS: u32 = 4;

/// A search in progress, with what its trials showed.
#[derive(Debug)]
pub struct Searcher<F> {
    search: Search,
    trial: F,
    known: Vec<Shown>,
    trials: u32,
}

impl<E, F: FnMut(f64) -> Result<Shown, E>> Searcher<F> {
    /// `trial` tries a rate in frames per second.
    pub fn new(search: Search, trial: F) -> Self {
        Self { search, trial, known: Vec::new(), trials: 0 }
    }

    /// The highest rate with a loss of at most `goal` (0 to 1).
    ///
    /// # Errors
    /// Those of the trial.
    pub fn find(&mut self, goal: f64) -> Result<Found, E> {
        let first = self.trials;
        let mut found = Found { rate: 0.0, bound_by_sender: false, trials: 0 };
        for _ in 0..CONFIRMATIONS {
            (found.rate, found.bound_by_sender) = self.bisect(goal)?;
            if found.rate == 0.0 || self.tried(found.rate, goal)?.loss <= goal {
                break;
            }
            // it held once and does not again: what held at it or above is not believed
            let rate = found.rate;
            self.known.retain(|shown| shown.loss > goal || shown.offered < rate * 0.999);
            self.known.push(Shown { offered: rate, loss: 1.0, hampered: false });
        }
        Ok(Found { trials: self.trials - first, ..found })
    }

    fn bisect(&mut self, goal: f64) -> Result<(f64, bool), E> {
        for _ in 0..STEPS {
            let (held, failed) = self.bracket(goal);
            let Some(rate) = self.next(held, failed) else { break };
            let shown = self.tried(rate, goal)?;
            self.known.push(shown);
            // a rate below one that failed has been sent before: being short of it now is chance
            if failed.is_none() && shown.loss <= goal && shown.offered < rate * OFFERED {
                return Ok((shown.offered, true));
            }
        }
        Ok((self.bracket(goal).0.unwrap_or(0.0), false))
    }

    /// The highest rate that held below the lowest that did not, and that one.
    fn bracket(&self, goal: f64) -> (Option<f64>, Option<f64>) {
        let rates = |held: bool| {
            let of_kind = self.known.iter().filter(move |shown| (shown.loss <= goal) == held);
            of_kind.map(|shown| shown.offered)
        };
        let failed = rates(false).min_by(f64::total_cmp);
        let held = rates(true).filter(|rate| failed.is_none_or(|failed| *rate < failed)).max_by(f64::total_cmp);
        (held, failed)
    }

    /// What to try next; nothing if the bracket is narrow enough.
    fn next(&self, held: Option<f64>, failed: Option<f64>) -> Option<f64> {
        let Search { lowest, highest, width, .. } = self.search;
        match (held, failed) {
            (None, None) => Some(highest),
            (Some(held), None) => (held < highest * OFFERED).then_some(highest),
            // what came through at the lowest failing rate is a good guess, a little less a better one
            (None, Some(failed)) if failed > lowest * (1.0 + width) => {
                Some(self.came_through(failed).clamp(lowest, failed * (1.0 - width)))
            }
            (None, Some(_)) => None,
            (Some(held), Some(failed)) => (failed - held > failed * width).then(|| (held + failed) / 2.0),
        }
    }

    /// Frames per second delivered at the rate `failed`, but no more than half of it, and a share less.
    fn came_through(&self, failed: f64) -> f64 {
        let at = self.known.iter().filter(|shown| shown.offered == failed).map(|shown| shown.loss);
        let loss = at.fold(0.0, f64::max);
        if loss >= 1.0 { failed / 2.0 } else { (failed * (1.0 - loss) * 0.98).max(failed / 2.0) }
    }

    /// A trial, repeated while it is lossy or short: the best of them. One in which the sender failed does not count, up to
    /// [`SPOILED`] of them.
    fn tried(&mut self, rate: f64, goal: f64) -> Result<Shown, E> {
        let (mut best, mut spoiled) = (None, 0);
        let mut left = 1 + self.search.repeats;
        loop {
            let shown = self.once(rate)?;
            if self.is_spoiled(&shown, rate, goal) && spoiled < SPOILED {
                spoiled += 1;
                continue;
            }
            let so_far = best.map_or(shown, |best| better(best, shown, goal));
            left -= 1;
            // the most the sender can do is not known from one trial either
            if so_far.loss <= goal && so_far.offered >= rate * OFFERED || left == 0 {
                return Ok(so_far);
            }
            best = Some(so_far);
        }
    }

    /// Whether it says nothing of the switch: it was hampered, or the sender sent less than it has managed before.
    fn is_spoiled(&self, shown: &Shown, rate: f64, goal: f64) -> bool {
        let short = shown.offered < rate * OFFERED && self.known.iter().any(|known| known.offered >= rate);
        short || shown.hampered && shown.loss > goal
    }

    fn once(&mut self, rate: f64) -> Result<Shown, E> {
        self.trials += 1;
        (self.trial)(rate)
    }
}

/// Of two trials the one that kept the goal, of two that did the one that offered more, else the one with less loss.
fn better(one: Shown, other: Shown, goal: f64) -> Shown {
    let other_is_better = match (one.loss <= goal, other.loss <= goal) {
        (true, true) => other.offered > one.offered,
        (false, false) => other.loss < one.loss,
        (_, other_held) => other_held,
    };
    if other_is_better { other } else { one }
}

#[cfg(test)]
#[path = "search_tests.rs"]
mod tests;
