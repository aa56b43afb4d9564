//! Frames from and to many addresses, by the stations of the library `traffic`.

use crate::failure::{During, Failure, Result};
use crate::rig::{DEV_A, DEV_B, LOAD_CORE};
use crate::world::{A, B};
use ::traffic::{Mac, Macs, Sizes, Station, Stream};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const BURST: u64 = 32;
/// Station A's address, and the first of those behind station B.
const FROM: Mac = [2, 0, 0, 0, 0x0a, 1];
const FIRST: Mac = [2, 0x5b, 0, 0, 0, 1];
/// How fast addresses are shown to a switch, per second: each learns more.
const TEACHING: u64 = 200_000;
const LENGTH: u16 = 64;

fn addresses(number: u32) -> Macs {
    Macs::many(FIRST, number).scattered()
}

/// Has station B send one frame from each of so many addresses, so that the switch knows where they are.
pub fn teach(number: u32) -> Result<()> {
    let mut station = Station::interface(Some(B), DEV_B).during("station B")?;
    let stream = Stream { from: addresses(number), ..Stream::new(0, FROM, FROM, Sizes::Fixed(LENGTH)) };
    let (start, mut sent, number) = (Instant::now(), 0, u64::from(number));
    while sent < number || !station.is_done() {
        let due = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX) * TEACHING / 1_000_000;
        let more = due.min(number).saturating_sub(sent).min(BURST);
        sent += station.send(&stream, sent..sent + more, |_| 0);
        station.kick().during("station B")?;
    }
    Ok(())
}

/// Station A, sending to the addresses in turn as fast as it can, until it is dropped.
pub struct Flood {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Flood {
    /// Sends to so many addresses.
    pub fn start(number: u32) -> Result<Self> {
        let mut station = Station::interface(Some(A), DEV_A).during("station A")?;
        let stream = Stream { to: addresses(number), ..Stream::new(0, FROM, FROM, Sizes::Fixed(LENGTH)) };
        let over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut cores = CpuSet::new();
            cores.set(LOAD_CORE).during("the load core")?;
            sched_setaffinity(Pid::from_raw(0), &cores).during("pinning the sender")?;
            let mut next = 0;
            // Relaxed: nothing is published with it
            while !told.load(Ordering::Relaxed) {
                next += station.send(&stream, next..next + BURST, |_| 0);
                station.kick().during("station A")?;
            }
            Ok(())
        });
        Ok(Self { over, thread: Some(thread) })
    }

    /// Ends it; an error if it had ended by itself.
    pub fn stop(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        self.over.store(true, Ordering::Relaxed);
        let panicked = |_| Failure("the sender panicked".into());
        self.thread.take().map_or(Ok(()), |thread| thread.join().map_err(panicked)?)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        // whoever wants the result has called `end` before
        let _ended = self.end();
    }
}

/// What a switch may take to deal with the last addresses it was shown.
pub const DIGESTING: Duration = Duration::from_millis(300);
