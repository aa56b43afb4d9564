//! `GET /v1/stats`: counters, what was lost outside the switch, and who holds frames.
//!
//! What the control thread has is taken at once ([`Switch::ask_stats`]); queues, programs and interfaces are asked on a
//! thread that may wait for them ([`Asked::answer`]).

use super::{PortState, Switch};
use crate::live::ports::losses::{self, Outside};
use crate::view::{self, Counts, VERSION};
use dataplane::engine::{Reports, Snapshot};
use dataplane::mem::Mempool;
use dataplane::pmd::QueueReport;
use dataplane::port::PortId;
use dataplane::stats::{Held, Losses, PortStats, WorkerStats};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long the answers of busy workers are waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// An answer of which the control thread has done its part.
#[derive(Debug)]
pub struct Asked {
    snapshot: Snapshot,
    names: BTreeMap<PortId, (String, Outside)>,
    reports: Reports,
    pool: Arc<Mempool>,
}

impl Switch {
    /// Takes the counters, and asks the queues.
    #[must_use]
    pub fn ask_stats(&self) -> Asked {
        let open = self.ports.iter().filter_map(|port| match &port.state {
            PortState::Open(open) => Some((open.id?, (port.plan.name.clone(), open.outside.clone()))),
            PortState::Failed(_) => None,
        });
        Asked {
            snapshot: self.engine.stats(),
            names: open.collect(),
            reports: self.engine.ask_queues(),
            pool: Arc::clone(self.engine.pool()),
        }
    }
}

impl Asked {
    /// Waits for the answers and puts them together.
    #[must_use]
    pub fn answer(self) -> view::Stats {
        let Self { snapshot, names, reports, pool } = self;
        let mut queues: BTreeMap<PortId, QueueReport> = BTreeMap::new();
        for (port, report) in reports.collect(PATIENCE) {
            let sum = queues.entry(port).or_default();
            sum.held.add(&report.held);
            sum.losses.merge(&report.losses);
        }
        let outside: Vec<&Outside> = names.values().map(|(_, outside)| outside).collect();
        for (port, losses) in names.keys().zip(losses::read(&outside)) {
            queues.entry(*port).or_default().losses.merge(&losses);
        }
        let mut held = Held::default();
        queues.values().for_each(|queue| held.add(&queue.held));
        let named = |(id, stats): &(PortId, PortStats)| {
            let report = queues.get(id).copied().unwrap_or_default();
            Some((names.get(id)?.0.clone(), port(stats, &report)))
        };
        view::Stats {
            v: VERSION,
            ports: snapshot.ports.iter().filter_map(named).collect(),
            removed: port(&snapshot.removed, &QueueReport::default()),
            workers: snapshot.workers.iter().map(worker).collect(),
            mempool: mempool(&pool, &held),
        }
    }
}

fn mempool(pool: &Mempool, held: &Held) -> view::Pool {
    let (total, free) = (pool.total(), pool.free());
    let rest = u64::from(total.saturating_sub(free)).saturating_sub(held.sum());
    view::Pool { total, free, held: causes(held), under_way: rest, backing: pool.arena().backing().to_string() }
}

/// The causes there are, by name.
fn causes(held: &Held) -> Counts {
    let Held { fill_ring, tx_ring, rx_buffers, cable } = *held;
    let all = [("fill_ring", fill_ring), ("tx_ring", tx_ring), ("rx_buffers", rx_buffers), ("cable", cable)];
    all.into_iter().filter(|(_, n)| *n > 0).map(|(cause, n)| (cause.into(), n)).collect()
}

fn port(stats: &PortStats, report: &QueueReport) -> view::PortStats {
    let lost = |before: bool, losses: &Losses| -> Counts {
        losses
            .counted()
            .filter(|(loss, _)| loss.is_before() == before)
            .map(|(loss, n)| (loss.name().into(), n))
            .collect()
    };
    let before = lost(true, &report.losses);
    let rx_lost = before.values().sum();
    let mut drops = before;
    drops.extend(stats.dropped().map(|(reason, n)| (reason.name().into(), n)));
    view::PortStats {
        rx_frames: stats.rx_frames,
        rx_bytes: stats.rx_bytes,
        rx_lost,
        tx_frames: stats.tx_frames,
        tx_bytes: stats.tx_bytes,
        tx_lost: lost(false, &report.losses),
        flood_copies: stats.flood_copies,
        tx_segments: stats.tx_segments,
        tx_checksums: stats.tx_checksums,
        observed: stats.observed,
        drops,
        held: causes(&report.held),
    }
}

fn worker(worker: &WorkerStats) -> view::Worker {
    view::Worker {
        core: worker.core,
        busy: worker.busy,
        frames: worker.frames,
        frames_per_burst: worker.frames_per_burst,
        ns_per_frame: worker.ns_per_frame,
        turns: worker.turns,
        sleeps: worker.sleeps,
        wakeups: worker.wakeups,
    }
}
