//! Conservation over a whole trial: what the stations sent and got, what every interface between them dropped, and what the
//! switch says of itself must add up, frame by frame.
//!
//! In front of the switch: sent = received by the switch + dropped by interfaces on the way in. Behind it: sent by the switch =
//! arrived at stations + dropped by interfaces on the way out. Inside: its own ledger. Of a switch that is not ours only the
//! whole is checked: what is lost must have been dropped somewhere we can see, or it is said how much was not.

use crate::failure::{Failure, Result};
use crate::process::ip;
use crate::rig::{Ledger, Rig};
use ::traffic::Outcome;
use serde_json::Value;

/// Frames dropped by interfaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Dropped {
    /// On the way to the switch: by stations that send, by the switch's interfaces that receive.
    inward: u64,
    /// On the way to the stations.
    outward: u64,
}

/// All counters at the start of a trial.
#[derive(Debug)]
pub struct Books {
    ledger: Option<Ledger>,
    dropped: Dropped,
}

impl Books {
    /// Before the trial.
    pub fn open(rig: &Rig, netns: &[String]) -> Result<Self> {
        Ok(Self { ledger: rig.ledger()?, dropped: dropped(netns)? })
    }

    /// After it: what does not add up.
    pub fn close(self, rig: &Rig, netns: &[String], outcome: &Outcome) -> Result<Option<String>> {
        let after = Self::open(rig, netns)?;
        let (Some(then), Some(now)) = (&self.ledger, &after.ledger) else { return Ok(None) };
        let inward = after.dropped.inward - self.dropped.inward;
        let outward = after.dropped.outward - self.dropped.outward;
        let (received, sent) = (now.received - then.received, now.sent - then.sent);
        Ok(now
            .imbalance()
            .or_else(|| differs("in front of the switch", outcome.sent(), received, inward))
            .or_else(|| differs("behind the switch", sent, at_stations(outcome), outward)))
    }
}

/// Every frame that came to a station, for whatever reason.
fn at_stations(outcome: &Outcome) -> u64 {
    let checkers = outcome.flows.iter().flat_map(|flow| &flow.arrived);
    let arrived: u64 = checkers.map(|checker| checker.received + checker.duplicates + checker.corrupt).sum();
    arrived + outcome.strays() + outcome.foreign.iter().sum::<u64>()
}

fn differs(place: &str, came: u64, went: u64, dropped: u64) -> Option<String> {
    let missing = came as i64 - went as i64 - dropped as i64;
    (missing != 0).then(|| {
        format!(
            "{missing} frames are unaccounted for {place}: {came} came, {went} went on, {dropped} dropped by interfaces"
        )
    })
}

/// Of all interfaces: those of the stations and those of the switch, in our own namespace.
fn dropped(netns: &[String]) -> Result<Dropped> {
    let ours = interfaces("-j -s link show")?;
    let mut all = Dropped { inward: ours.0, outward: ours.1 };
    let mut named: Vec<&String> = netns.iter().collect();
    named.sort();
    named.dedup();
    for netns in named {
        let (rx, tx) = interfaces(&format!("-n {netns} -j -s link show"))?;
        all.inward += tx;
        all.outward += rx;
    }
    Ok(all)
}

/// Dropped while receiving and while sending.
fn interfaces(words: &str) -> Result<(u64, u64)> {
    let text = ip(words)?;
    let answer: Value = serde_json::from_str(&text).map_err(|error| Failure(format!("ip {words}: {error}")))?;
    let sum = |direction: &str| {
        let links = answer.as_array().into_iter().flatten();
        let drops = links.filter_map(|link| {
            let counts = &link["stats64"][direction];
            Some(counts["dropped"].as_u64()? + counts["errors"].as_u64()?)
        });
        drops.sum::<u64>()
    };
    Ok((sum("rx"), sum("tx")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_counted() {
        assert_eq!(differs("here", 10, 7, 3), None);
        let said = differs("here", 10, 7, 2).unwrap();
        assert!(said.starts_with("1 frames are unaccounted for here"), "{said}");
        assert!(differs("here", 10, 11, 0).unwrap().starts_with("-1 frames"));
    }
}
