//! A trial: flows between stations, and the fate of every frame.
//!
//! One loop on the caller's thread: send what is due at each station, in bursts, let the kernel send it, take what has
//! arrived. When everything is sent it goes on until everything has arrived, or nothing has for [`QUIET`].

use crate::check::{Arrival, Checker};
use crate::frame::{Stamp, Stream};
use crate::schedule::Schedule;
use crate::station::Station;
use crate::{TrafficError, clock};
use hdrhistogram::Histogram;

/// Most frames of a flow sent in one turn: the time the sink is not looked at.
pub const BURST: u64 = 32;
/// A trial is over when nothing has arrived for so long, nanoseconds. RFC 2544 waits 2 s, for switches that store frames so
/// long; a software switch on this machine that has the core does not.
pub const QUIET: u64 = 50_000_000;
/// The same for a station whose own frames are stuck before they have left.
const GIVE_UP: u64 = 2_000_000_000;
/// How late the last frame may leave, as a share of the schedule's time, and nanoseconds on top.
const LATE: (u64, u64) = (50, 5_000_000);

/// Frames from one station to others.
#[derive(Clone, Debug)]
pub struct Flow {
    /// What is sent.
    pub stream: Stream,
    /// When.
    pub schedule: Schedule,
    /// From which station.
    pub from: usize,
    /// At which stations each frame must arrive.
    pub to: Vec<usize>,
}

/// Flows that run at the same time.
#[derive(Clone, Debug)]
pub struct Trial {
    flows: Vec<Flow>,
}

/// What became of a flow.
#[derive(Clone, Debug)]
pub struct FlowOutcome {
    /// Frames of the schedule.
    pub intended: u64,
    /// Frames given to the kernel.
    pub sent: u64,
    /// Frames offered to the station.
    asked: u64,
    /// What arrived where it had to, in the order of [`Flow::to`].
    pub arrived: Vec<Checker>,
    /// Frames seen by each station that was not to get them.
    pub strays: Vec<u64>,
}

/// What became of all frames.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Of each flow.
    pub flows: Vec<FlowOutcome>,
    /// By [`clock::now`]: when the first frame was due.
    pub start: u64,
    /// Nanoseconds from then until the last frame had been given to the kernel, at least the schedule's time.
    pub span: u64,
    /// How late bursts were sent, nanoseconds.
    pub lag: Histogram<u64>,
    /// Frames that found no room at their station at first: whoever takes its frames was slower than it.
    pub held: u64,
    /// Frames that are none of this trial's, at each station.
    pub foreign: Vec<u64>,
    /// Frames the kernel could not give to a station in time.
    pub missed: u64,
}

impl FlowOutcome {
    /// Frames that must arrive, over all receivers.
    pub fn expected(&self) -> u64 {
        self.sent * self.arrived.len() as u64
    }

    /// Frames that arrived where they had to.
    pub fn received(&self) -> u64 {
        self.arrived.iter().map(|checker| checker.received).sum()
    }
}

impl Outcome {
    fn sum(&self, of: impl Fn(&FlowOutcome) -> u64) -> u64 {
        self.flows.iter().map(of).sum()
    }

    fn checkers(&self) -> impl Iterator<Item = &Checker> {
        self.flows.iter().flat_map(|flow| &flow.arrived)
    }

    /// Frames given to the kernel.
    pub fn sent(&self) -> u64 {
        self.sum(|flow| flow.sent)
    }

    /// Frames of the schedules.
    pub fn intended(&self) -> u64 {
        self.sum(|flow| flow.intended)
    }

    /// Frames that arrived where they had to.
    pub fn received(&self) -> u64 {
        self.sum(FlowOutcome::received)
    }

    /// Frames that did not arrive.
    pub fn lost(&self) -> u64 {
        self.sum(FlowOutcome::expected) - self.received()
    }

    /// Share of frames that found no room at first, 0 to 1.
    pub fn held(&self) -> f64 {
        self.held as f64 / self.sent().max(1) as f64
    }

    /// Share of frames that did not arrive, 0 to 1.
    pub fn loss(&self) -> f64 {
        self.lost() as f64 / self.sum(FlowOutcome::expected).max(1) as f64
    }

    /// Frames per second that were sent.
    pub fn offered(&self) -> f64 {
        self.sent() as f64 / self.span.max(1) as f64 * 1e9
    }

    /// Frames per second that were delivered.
    pub fn forwarded(&self) -> f64 {
        self.offered() * self.received() as f64 / self.sent().max(1) as f64
    }

    /// Frames that arrived where they should not.
    pub fn strays(&self) -> u64 {
        self.sum(|flow| flow.strays.iter().sum())
    }

    /// All latencies.
    pub fn latency(&self) -> Histogram<u64> {
        let mut all = Checker::new(0).latency;
        self.checkers().for_each(|checker| all += &checker.latency);
        all
    }

    /// What no switch may do, in words: frames twice, out of order, damaged.
    pub fn faults(&self) -> Vec<String> {
        let count = |what: &str, of: fn(&Checker) -> u64| {
            let n: u64 = self.checkers().map(of).sum();
            (n > 0).then(|| format!("{n} frames {what}"))
        };
        let all = [
            count("arrived twice", |checker| checker.duplicates),
            count("were overtaken", |checker| checker.reordered),
            count("were damaged", |checker| checker.corrupt),
        ];
        all.into_iter().flatten().collect()
    }
}

impl Trial {
    /// Flows, numbered in this order.
    ///
    /// # Panics
    /// If there are more than 65536.
    pub fn new(mut flows: Vec<Flow>) -> Self {
        for (id, flow) in flows.iter_mut().enumerate() {
            flow.stream.id = u16::try_from(id).expect("no more flows than ids");
        }
        Self { flows }
    }

    /// Runs it; `stations` are those the flows name by number.
    ///
    /// # Errors
    /// If a station dies.
    pub fn run(&self, stations: &mut [Station]) -> Result<Outcome, TrafficError> {
        let before = missed(stations)?;
        let mut run = Run::new(&self.flows, stations.len());
        run.send_all(stations)?;
        run.drain(stations)?;
        let mut outcome = run.outcome;
        outcome.missed = missed(stations)? - before;
        Ok(outcome)
    }
}

fn missed(stations: &[Station]) -> Result<u64, TrafficError> {
    stations.iter().map(Station::missed).sum()
}

/// A trial in progress.
struct Run<'a> {
    flows: &'a [Flow],
    outcome: Outcome,
    last_arrival: u64,
}

impl<'a> Run<'a> {
    fn new(flows: &'a [Flow], stations: usize) -> Self {
        let begun = |flow: &Flow| FlowOutcome {
            intended: flow.schedule.frames(),
            sent: 0,
            asked: 0,
            arrived: flow.to.iter().map(|_| Checker::new(flow.schedule.frames())).collect(),
            strays: vec![0; stations],
        };
        let outcome = Outcome {
            flows: flows.iter().map(begun).collect(),
            start: clock::now(),
            span: 0,
            lag: Checker::new(0).latency,
            held: 0,
            foreign: vec![0; stations],
            missed: 0,
        };
        Self { flows, outcome, last_arrival: 0 }
    }

    fn send_all(&mut self, stations: &mut [Station]) -> Result<(), TrafficError> {
        let time = self.flows.iter().map(|flow| flow.schedule.time()).max().unwrap_or(0);
        let is_paced = time > 0;
        let end = time + time / LATE.0 + LATE.1;
        self.outcome.start = clock::now();
        loop {
            let now = clock::now() - self.outcome.start;
            let all_sent = self.send_due(now, stations);
            self.turn(stations)?;
            self.outcome.span = time.max(clock::now() - self.outcome.start);
            if all_sent || is_paced && now > end {
                return Ok(());
            }
        }
    }

    /// A burst of each flow that has frames due; whether all have sent all.
    fn send_due(&mut self, now: u64, stations: &mut [Station]) -> bool {
        let (mut all_sent, start) = (true, self.outcome.start);
        for (flow, outcome) in self.flows.iter().zip(&mut self.outcome.flows) {
            let due = flow.schedule.count(now);
            let to = due.min(outcome.sent + BURST);
            if outcome.sent < to {
                self.outcome.lag.saturating_record((now - flow.schedule.due(outcome.sent).min(now)).max(1));
                let moment = |number| start + flow.schedule.due(number);
                outcome.sent += stations[flow.from].send(&flow.stream, outcome.sent..to, moment);
                self.outcome.held += to - outcome.sent.max(outcome.asked).min(to);
                outcome.asked = outcome.asked.max(to);
            }
            all_sent &= outcome.sent == outcome.intended;
        }
        all_sent
    }

    /// Lets every station send and receive; what arrived.
    fn turn(&mut self, stations: &mut [Station]) -> Result<(), TrafficError> {
        for (at, station) in stations.iter_mut().enumerate() {
            station.kick()?;
            let seen = clock::now();
            if station.receive(seen, |arrival| self.take(at, arrival)) > 0 {
                self.last_arrival = seen;
            }
        }
        Ok(())
    }

    fn take(&mut self, at: usize, arrival: &Arrival<'_>) {
        let stamp = Stamp::read(arrival.first).filter(|stamp| stamp.due >= self.outcome.start);
        let known = stamp.and_then(|stamp| Some((stamp, self.flows.get(usize::from(stamp.stream))?)));
        let Some((stamp, flow)) = known else {
            self.outcome.foreign[at] += 1;
            return;
        };
        let outcome = &mut self.outcome.flows[usize::from(stamp.stream)];
        match flow.to.iter().position(|to| *to == at) {
            Some(place) => outcome.arrived[place].take(&flow.stream, &stamp, arrival),
            None => outcome.strays[at] += 1,
        }
    }

    /// What is still on its way. A station whose frames the kernel has not taken yet is kicked on: on a busy machine that may
    /// take longer than `QUIET`, and frames that stay on its ring were never counted by the switch.
    fn drain(&mut self, stations: &mut [Station]) -> Result<(), TrafficError> {
        self.last_arrival = clock::now();
        loop {
            // the time before the check counts: a tester that was held up has to check once more
            let looked = clock::now();
            self.turn(stations)?;
            let quiet = looked.saturating_sub(self.last_arrival);
            let sent = stations.iter().all(Station::is_done);
            if (sent && (quiet > QUIET || self.outcome.lost() == 0)) || quiet > GIVE_UP {
                return Ok(());
            }
        }
    }
}
