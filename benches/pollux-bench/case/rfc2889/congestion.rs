//! Congestion (5.5): whether frames to a port that is free are lost because others wait for one that is not.
//!
//! Station A sends half of its frames to C and half to D, station B sends all to D: C is offered half of a line rate, D one and
//! a half. Only D has a line rate ([`Tester::limit`]); any kind of station will do. Frames beyond D's rate have to be dropped
//! or held back. Loss at C is head-of-line blocking. Before that, the same frames are sent while D takes all of them.

use super::CONGESTION;
use super::flows::flow;
use crate::failure::Result;
use crate::rounds::{Facts, Reading, Taken};
use crate::tester::{Drops, Effort, Tester};
use ::traffic::trial::FlowOutcome;
use ::traffic::{Flow, Outcome, Schedule};

const A: usize = 0;
const B: usize = 1;
const C: usize = 2;
const D: usize = 3;

/// Frames per second that D takes: far below what any switch here forwards.
const LINE: u64 = 50_000;
/// Trials in which C loses frames before it is believed: another process on the switch's core for 20 ms has the same effect.
const TRIALS: u32 = 3;
/// The place of the flow to C; the others go to D.
const TO_C: usize = 0;
const BUSY: &str = "frames to the free port are lost while nothing is congested, too: of no use, the machine is busy";
const SECOND: f64 = 1e9;

fn flows(time: u64) -> Vec<Flow> {
    let paced = |rate| Schedule::paced(rate, time);
    let all = [flow(A, C, paced(LINE / 2)), flow(A, D, paced(LINE / 2)), flow(B, D, paced(LINE))];
    all.map(|mut flow| {
        flow.stream.timed = true;
        flow
    })
    .into()
}

pub fn measure(tester: &mut Tester, effort: Effort, work: String) -> Result<Taken> {
    tester.limit(D, None);
    let (open, _) = verified(tester, effort)?;
    tester.limit(D, Some(LINE));
    let (congested, drops) = verified(tester, effort)?;
    let latency = Some(congested.flows[TO_C].arrived[0].latency.clone());
    let mut reading = Reading { value: loss(&congested), latency, ..Reading::default() };
    reading.facts =
        [at_c(&open, &congested), at_d(&congested), by_whom(&congested, &drops), back_pressure(&congested)].concat();
    if loss(&open) > 0.0 {
        reading.findings.remarks.push(BUSY.into());
    }
    Ok(Taken { section: CONGESTION, work, reading: Ok(reading) })
}

/// The first trial in which C loses nothing, or else the last.
fn verified(tester: &mut Tester, effort: Effort) -> Result<(Outcome, Drops)> {
    // three trials' time: D's queue is to be full for most of it
    let mut trial = || tester.trial_with_drops(flows(3 * effort.trial));
    let mut last = trial()?;
    for _ in 1..TRIALS {
        if lost(&last.0.flows[TO_C]) == 0 {
            break;
        }
        last = trial()?;
    }
    Ok(last)
}

/// Of the frames sent to C, per cent.
fn loss(outcome: &Outcome) -> f64 {
    let to_c = &outcome.flows[TO_C];
    lost(to_c) as f64 / to_c.expected().max(1) as f64 * 100.0
}

fn lost(flow: &FlowOutcome) -> u64 {
    flow.expected() - flow.received()
}

fn p99(outcome: &Outcome) -> f64 {
    outcome.flows[TO_C].arrived[0].latency.value_at_quantile(0.99) as f64 / 1e3
}

/// What C got while D took everything, beside what it got while D did not.
fn at_c(open: &Outcome, congested: &Outcome) -> Facts {
    let open_facts = [("open loss %", loss(open)), ("open P99 µs", p99(open))];
    open_facts.into_iter().chain([("P99 µs", p99(congested))]).map(|(name, value)| (name.to_owned(), value)).collect()
}

/// What D got: of its line rate until its last frame, and of what was sent to it.
fn at_d(outcome: &Outcome) -> Facts {
    let to_d = &outcome.flows[TO_C + 1..];
    let received: u64 = to_d.iter().map(FlowOutcome::received).sum();
    let last = to_d.iter().map(|flow| flow.arrived[0].last_arrival).max().unwrap_or(0);
    let could = last.saturating_sub(outcome.start) as f64 / SECOND * LINE as f64;
    let lost: u64 = to_d.iter().map(lost).sum();
    vec![("D % of its line".into(), received as f64 / could.max(1.0) * 100.0), ("lost to D".into(), lost as f64)]
}

/// Where the lost frames were dropped: interfaces by name (`t3` is D's, on the switch's side), and Pollux by reason; other
/// switches do not tell.
fn by_whom(outcome: &Outcome, drops: &Drops) -> Facts {
    let all = drops.by_switch.iter().chain(&drops.by_interfaces);
    let nobody = outcome.lost().saturating_sub(all.clone().map(|(_, n)| n).sum::<u64>() + outcome.missed);
    let others = [("by stations", outcome.missed), ("by nobody", nobody)];
    let others = others.iter().filter(|(_, n)| *n > 0).map(|(who, n)| (format!("dropped {who}"), *n as f64));
    all.map(|(who, n)| (format!("dropped {who}"), *n as f64)).chain(others).collect()
}

/// Whether the switch made senders wait.
fn back_pressure(outcome: &Outcome) -> Facts {
    let refused = outcome.intended() - outcome.sent();
    let late = outcome.lag.value_at_quantile(0.99) as f64 / 1e3;
    vec![("refused".into(), refused as f64), ("sender late P99 µs".into(), late)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c_is_offered_half_of_a_line_and_d_one_and_a_half() {
        let flows = flows(1_000_000_000);
        let offered = |to| flows.iter().filter(|flow| flow.to == [to]).map(|flow| flow.schedule.frames()).sum::<u64>();
        let sent = |from| flows.iter().filter(|flow| flow.from == from).map(|flow| flow.schedule.frames()).sum::<u64>();
        assert_eq!((offered(C) * 2, offered(D) * 2), (LINE, 3 * LINE));
        assert_eq!((sent(A), sent(B)), (LINE, LINE));
        assert_eq!(flows[TO_C].to, [C]);
    }
}
