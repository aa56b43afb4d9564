//! Conservation over a whole trial: what the stations sent and received, what every interface between them dropped, and the
//! counters of the switch must add up, frame by frame.
//!
//! Every frame that a station or a port of the switch sent was received by the switch or a station, or dropped by an interface
//! between them. Inside the switch, its own counters must balance; only those of Pollux are known.

use super::Middle;
use crate::failure::{Failure, Result};
use crate::process::ip;
use crate::rig::Ledger;
use ::traffic::Outcome;
use serde_json::Value;
use std::collections::BTreeMap;

/// All counters at the start of a trial.
#[derive(Debug)]
pub struct Books {
    ledger: Option<Ledger>,
    /// By interfaces.
    dropped: Counts,
}

/// Frames by name of the interface or drop reason.
type Counts = BTreeMap<String, u64>;

/// What was dropped during a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops {
    /// By a switch of ours, by reason.
    pub by_switch: Counts,
    /// By interfaces of stations and of the switch, by name.
    pub by_interfaces: Counts,
}

impl Books {
    /// Before the trial.
    pub fn open(middle: &Middle, netns: &[String]) -> Result<Self> {
        Ok(Self { ledger: middle.ledger()?, dropped: dropped(netns)? })
    }

    /// After it: returns what does not add up.
    pub fn close(&self, middle: &Middle, netns: &[String], outcome: &Outcome) -> Result<Option<String>> {
        let after = Self::open(middle, netns)?;
        let (Some(then), Some(now)) = (&self.ledger, &after.ledger) else { return Ok(None) };
        let moved = Moved {
            sent: outcome.sent(),
            switched: (now.received - then.received, now.sent - then.sent),
            arrived: at_stations(outcome),
            dropped: total(&grown(&self.dropped, &after.dropped)),
            missed: outcome.missed,
        };
        Ok(now.imbalance().or_else(|| moved.imbalance()))
    }

    /// What was dropped from these to later ones.
    pub fn drops_until(&self, later: &Self) -> Drops {
        let ledgers = self.ledger.as_ref().zip(later.ledger.as_ref());
        let by_switch = ledgers.map(|(then, now)| grown(&then.drops, &now.drops)).unwrap_or_default();
        Drops { by_switch, by_interfaces: grown(&self.dropped, &later.dropped) }
    }
}

/// Counts that have grown, and by how much.
fn grown(then: &Counts, now: &Counts) -> Counts {
    let more = now.iter().map(|(reason, n)| (reason.clone(), n - then.get(reason).unwrap_or(&0)));
    more.filter(|(_, n)| *n > 0).collect()
}

fn total(counts: &Counts) -> u64 {
    counts.values().sum()
}

/// Every frame that came to a station, for whatever reason.
fn at_stations(outcome: &Outcome) -> u64 {
    let checkers = outcome.flows.iter().flat_map(|flow| &flow.arrived);
    let arrived: u64 = checkers.map(|checker| checker.received + checker.duplicates + checker.corrupt).sum();
    arrived + outcome.strays() + outcome.foreign.iter().sum::<u64>()
}

/// Frames of a trial, wherever they were counted.
#[derive(Clone, Copy, Debug)]
struct Moved {
    /// By stations.
    sent: u64,
    /// By the switch: received and sent.
    switched: (u64, u64),
    /// At stations.
    arrived: u64,
    /// By interfaces.
    dropped: u64,
    /// By the kernel, because a station was slow; some interfaces count these too, some do not.
    missed: u64,
}

impl Moved {
    fn imbalance(&self) -> Option<String> {
        let Self { sent, switched: (received, forwarded), arrived, dropped, missed } = self;
        let (came, went) = (sent + forwarded, received + arrived + dropped);
        (went > came || came - went > *missed).then(|| {
            format!(
                "frames are unaccounted for: {sent} sent by stations + {forwarded} by the switch ≠ {received} received by \
                 the switch + {arrived} by stations + {dropped} dropped by interfaces, {missed} missed by stations"
            )
        })
    }
}

/// Of all interfaces: those of the stations and those of the switch, in our own namespace.
fn dropped(netns: &[String]) -> Result<Counts> {
    let mut all = interfaces("-j -s link show")?;
    for netns in netns {
        for (name, n) in interfaces(&format!("-n {netns} -j -s link show"))? {
            *all.entry(name).or_default() += n;
        }
    }
    Ok(all)
}

/// Dropped while receiving and while sending.
fn interfaces(words: &str) -> Result<Counts> {
    let text = ip(words)?;
    let answer: Value = serde_json::from_str(&text).map_err(|error| Failure(format!("ip {words}: {error}")))?;
    let count = |link: &Value| {
        let one = |direction: &str, what: &str| link["stats64"][direction][what].as_u64().unwrap_or(0);
        one("rx", "dropped") + one("rx", "errors") + one("tx", "dropped") + one("tx", "errors")
    };
    let name = |link: &Value| link["ifname"].as_str().unwrap_or("?").to_owned();
    Ok(answer.as_array().into_iter().flatten().map(|link| (name(link), count(link))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_noticed() {
        let moved = Moved { sent: 10, switched: (9, 8), arrived: 7, dropped: 2, missed: 0 };
        assert_eq!(moved.imbalance(), None);
        assert_eq!(Moved { dropped: 1, missed: 1, ..moved }.imbalance(), None);
        assert!(Moved { arrived: 8, missed: 1, ..moved }.imbalance().is_some(), "one too many");
        let said = Moved { dropped: 1, ..moved }.imbalance().unwrap();
        assert!(said.contains("10 sent by stations + 8 by the switch ≠ 9"), "{said}");
    }

    #[test]
    fn only_drops_of_the_time_between_are_shown() {
        let books = |full: u64, dropped| {
            let drops = [("tx_full", full), ("runt", 2)].map(|(reason, n)| (reason.to_owned(), n));
            let dropped = [("s0", 7), ("t3", dropped)].map(|(name, n)| (name.to_owned(), n));
            Books { ledger: Some(Ledger { drops: drops.into(), ..Ledger::default() }), dropped: dropped.into() }
        };
        let drops = books(1, 5).drops_until(&books(4, 9));
        let only = |name: &str, n: u64| Counts::from([(name.to_owned(), n)]);
        assert_eq!((drops.by_switch, drops.by_interfaces), (only("tx_full", 3), only("t3", 4)));
    }
}
