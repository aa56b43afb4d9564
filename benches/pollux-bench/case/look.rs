//! Counters at one moment, and their differences between two moments.

use super::spent::{Spent, work};
use crate::failure::Result;
use crate::rig::{Ledger, Rig};
use crate::rounds::Facts;
use crate::traffic::sink::{Sink, offered};
use std::time::Instant;

/// The counts at one moment.
pub struct Look {
    at: Instant,
    arrived: u64,
    offered: u64,
    spent: Option<Spent>,
    ledger: Option<Ledger>,
}

impl Look {
    /// Now.
    pub fn take(rig: &Rig, sink: &Sink) -> Result<Self> {
        // the two that make the figure next to each other
        let (ledger, spent, offered) = (rig.ledger()?, Spent::take(rig)?, offered()?);
        let arrived = sink.count()?;
        Ok(Self { at: Instant::now(), arrived, offered, spent, ledger })
    }

    /// Mpps that arrived, and the other figures of the time between.
    pub fn since(&self, before: &Self) -> (f64, Facts) {
        let seconds = (self.at - before.at).as_secs_f64();
        let arrived = (self.arrived - before.arrived) as f64;
        let offered = (self.offered - before.offered) as f64;
        let mut facts = vec![("offered Mpps".to_owned(), offered / seconds / 1e6)];
        if let (Some(now), Some(then)) = (self.spent, before.spent) {
            facts.push(("CPU ns/frame".to_owned(), now.cpu_ns_since(then) / arrived));
            facts.push(now.wakeups_since(then, arrived));
        }
        if let (Some(now), Some(then)) = (&self.ledger, &before.ledger) {
            facts.extend(inside(now, then, seconds));
            facts.extend(work(now, then));
        }
        (arrived / seconds / 1e6, facts)
    }
}

/// What Pollux reports: drops by reason, and its work while it is not idle.
fn inside(now: &Ledger, then: &Ledger, seconds: f64) -> Facts {
    let received = (now.received - then.received).max(1) as f64;
    let dropped = |(reason, n): (&String, &u64)| {
        let more = n - then.drops.get(reason).unwrap_or(&0);
        (format!("{reason} %"), more as f64 / received * 100.0)
    };
    let work_ns = now.work_ns - then.work_ns;
    let work = [("work ns/frame".to_owned(), work_ns / received), ("work %".to_owned(), work_ns / seconds / 1e7)];
    now.drops.iter().map(dropped).chain(work).collect()
}
