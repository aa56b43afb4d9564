//! What the ways into and out of a TAP cost: plain system calls beside io_uring, on real devices in a network namespace
//! of the run's own. Needs root.
//!
//! One thread sends a batch through the kernel to a TAP (UDP, with USO for 60 KB frames) and takes it out again, or
//! writes frames that the kernel drops at once (to an unused address). Each way has a TAP of its own, and every
//! round measures all of them one after the other: the tables show medians over the rounds, and the median of the
//! ratios to the first way within a round.

#![allow(clippy::cast_possible_truncation, reason = "counts of at most 64, lengths of at most 70 000")]

mod idle;
mod rig;
mod rx;
mod table;
mod tx;
mod uring;

use rig::{Frame, World};
use table::Table;

/// Rounds of each table.
const ROUNDS: usize = 15;

fn main() {
    // `cargo test --benches` only wants to know that it builds.
    if std::env::args().any(|arg| arg == "--test") {
        return;
    }
    if !nix::unistd::geteuid().is_root() {
        println!("tap: skipped, needs root for network namespaces");
        return;
    }
    let world = World::new();
    for frame in Frame::ALL {
        receive(&world, frame);
    }
    for frame in Frame::ALL {
        transmit(&world, frame);
    }
    idle(&world);
}

fn receive(world: &World, frame: Frame) {
    let mut ways = rx::ways(world);
    let mut table = Table::new(format!("receive, {frame}"), &["ns/frame", "ns/frame to send"]);
    for _ in 0..ROUNDS {
        for way in &mut ways {
            let (mut send, mut receive) = (0.0, 0.0);
            for _ in 0..frame.batches() {
                send += table::nanos(|| way.station.feed(frame));
                receive += table::nanos(|| way.drain(frame.batch()));
            }
            let frames = (frame.batches() * frame.batch()) as f64;
            table.add(way.name, &[receive / frames, send / frames]);
        }
    }
    print!("{table}");
}

fn transmit(world: &World, frame: Frame) {
    let mut ways = tx::ways(world, frame);
    let mut table = Table::new(format!("send, {frame}"), &["ns/frame"]);
    for _ in 0..ROUNDS {
        for way in &mut ways {
            let spent: f64 = (0..frame.batches()).map(|_| table::nanos(|| way.send(frame.batch()))).sum();
            table.add(way.name, &[spent / (frame.batches() * frame.batch()) as f64]);
        }
    }
    print!("{table}");
}

fn idle(world: &World) {
    const LOOKS: u32 = 2000;
    for taps in [1, 8, 64] {
        let stations: Vec<_> = (0..taps).map(|_| world.station()).collect();
        let mut ways = idle::ways(&stations);
        let mut table = Table::new(format!("look at {taps} idle TAP(s)"), &["ns/turn"]);
        for _ in 0..ROUNDS {
            for way in &mut ways {
                let spent = table::nanos(|| (0..LOOKS).for_each(|_| way.look()));
                table.add(way.name, &[spent / f64::from(LOOKS)]);
            }
        }
        print!("{table}");
    }
}
