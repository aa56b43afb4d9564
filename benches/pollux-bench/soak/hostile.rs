//! A hostile guest, and bystanders who must not notice it.
//!
//! Its deeds are legal work for nothing ([`Deed`]), a session each. The bystanders are in a domain of their own on the same
//! worker and the same pool: every ping of theirs must be answered.

use super::{Faults, Lab, note};
use crate::failure::{During, Failure, Result};
use crate::process::{run, within};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};
use traffic::{Deed, Hostile};

/// How long a deed goes on, and how often it offers more.
const DEED: Duration = Duration::from_secs(1);
const AGAIN: Duration = Duration::from_millis(1);

/// Held during a session; whoever holds it otherwise sees the switch without the guest.
#[derive(Debug, Default)]
pub struct Sessions {
    running: Mutex<()>,
    /// How many there were.
    pub ended: AtomicU32,
}

impl Sessions {
    /// Waits for the end of a session; the next one begins when this is dropped.
    pub fn pause(&self) -> MutexGuard<'_, ()> {
        // it guards nothing that could be half done
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One deed after the other until it is over.
pub fn keep_on(lab: &Lab<'_>, sessions: &Sessions, over: &AtomicBool, faults: &Faults) {
    for deed in Deed::ALL.into_iter().cycle() {
        // Relaxed: nothing is published with it
        if over.load(Ordering::Relaxed) {
            break;
        }
        let _running = sessions.pause();
        if let Err(failure) = one(lab, deed) {
            note(faults, format!("hostile guest, {deed:?}: {failure}"));
        }
        sessions.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// A session; it is over when the switch has seen it end.
fn one(lab: &Lab<'_>, deed: Deed) -> Result<()> {
    let mut guest = Hostile::connect(&lab.world.directory.join(super::EVIL), deed).during("connecting")?;
    let start = Instant::now();
    while start.elapsed() < DEED && guest.act() {
        sleep(AGAIN);
    }
    drop(guest);
    lab.without_guest()
}

/// Pings between bystanders, both of which nothing else is sent to: each must be answered.
pub fn bystanders() -> Result<()> {
    let said = run(&within("plxb-b1", &["ping", "-n", "-q", "-c", "1000", "-i", "0.01", "-W", "10", "10.79.0.2"]))?;
    let whole = said.contains(" 0% packet loss");
    if whole { Ok(()) } else { Err(Failure(format!("a bystander lost frames: {}", said.trim()))) }
}
