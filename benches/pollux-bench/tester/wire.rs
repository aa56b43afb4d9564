//! The link between two guests without a switch: a thread on the switch's core that copies frames and does nothing else.
//!
//! It runs on that core because a switch would: what a frame costs the tester depends on which core touched it last. With short
//! frames it has less to do than the tester, which makes and checks them, so that the rate is the tester's; with long ones the
//! copy may be the bound, as it is for any switch of one core.

use super::pin;
use crate::failure::{Failure, Result};
use crate::rig::SWITCH_CORE;
use ::traffic::Wire;
use std::hint::spin_loop;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{JoinHandle, spawn};

/// See the module. Dropping it ends the thread.
#[derive(Debug)]
pub struct Carrier {
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<()>>>,
}

impl Carrier {
    /// Carries from now on.
    pub fn start(mut wire: Wire) -> Result<Self> {
        let over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&over);
        let carry = move || {
            pin(SWITCH_CORE)?;
            // ended by drop; the frames have atomics of their own
            while !ended.load(Relaxed) {
                if wire.carry() == 0 {
                    spin_loop();
                }
            }
            Ok(())
        };
        Ok(Self { over, thread: Some(spawn(carry)) })
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Ok(Err(Failure(what)))) = ended {
            eprintln!("the wire: {what}");
        }
    }
}
