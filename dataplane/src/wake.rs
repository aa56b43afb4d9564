//! The wakeup that cannot be lost: a flag and an eventfd between one sleeper and those that give it work.
//!
//! The giver publishes work, then looks at the flag; the sleeper raises the flag, then looks for work. Both put a
//! full fence between their store and their load (Dekker), so at least one of them sees the other:
//!
//! ```text
//! giver                              sleeper
//! (A) work.push(..)                  (C) asleep = true
//!     fence SeqCst                       fence SeqCst
//! (B) if asleep: asleep = false,     (D) if work: asleep = false, go on
//!         write the eventfd              else: epoll_wait
//! ```
//! Either (B) sees (C) and rings, or (D) sees (A) and stays awake. The loom model below walks every order.

use crate::primitive::{AtomicBool, Ordering, fence};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The flag of the protocol; no syscall in it.
#[derive(Debug)]
pub(crate) struct SleepFlag(AtomicBool);

impl SleepFlag {
    pub(crate) fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// The sleeper's side of (C), fence, (D): true if it may sleep.
    pub(crate) fn prepare_sleep(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.0.store(true, Ordering::Relaxed);
        // Orders (C) before (D); pairs with the fence in `notify`.
        fence(Ordering::SeqCst);
        if has_work() {
            self.0.store(false, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// The sleeper is up again.
    pub(crate) fn finish_sleep(&self) {
        self.0.store(false, Ordering::Relaxed);
    }

    /// The giver's side after (A): true if the eventfd must be written.
    pub(crate) fn notify(&self) -> bool {
        // Orders (A) before (B); pairs with the fence in `prepare_sleep`.
        fence(Ordering::SeqCst);
        // The swap lets one of several givers ring, not all.
        self.0.load(Ordering::Relaxed) && self.0.swap(false, Ordering::Relaxed)
    }
}

/// A `SleepFlag` with the eventfd that ends the sleep.
#[derive(Debug)]
pub struct Wakeup {
    flag: SleepFlag,
    event: EventFd,
}

impl Wakeup {
    /// A wakeup for one sleeper.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn new() -> io::Result<Self> {
        let event = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self { flag: SleepFlag::new(), event })
    }

    /// Called after work was published: ends the sleep if there is one.
    pub fn wake(&self) {
        if self.flag.notify() {
            // A full counter (EAGAIN) wakes as well as a new value.
            let _ = self.event.write(1);
        }
    }

    /// Called before sleeping: true if the sleeper may wait on the eventfd, false if `has_work`.
    pub fn prepare_sleep(&self, has_work: impl FnOnce() -> bool) -> bool {
        self.flag.prepare_sleep(has_work)
    }

    /// Called after sleeping.
    pub fn finish_sleep(&self) {
        self.flag.finish_sleep();
    }

    /// Empties the eventfd.
    pub fn clear(&self) {
        // EAGAIN: already empty.
        let _ = self.event.read();
    }
}

impl AsFd for Wakeup {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_a_sleeper_is_rung_and_once() {
        let wakeup = Wakeup::new().unwrap();
        wakeup.wake();
        assert!(wakeup.event.read().is_err(), "nobody slept");
        assert!(!wakeup.prepare_sleep(|| true));
        assert!(wakeup.prepare_sleep(|| false));
        wakeup.wake();
        wakeup.wake();
        assert_eq!(wakeup.event.read(), Ok(1));
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::sync::Arc;
    use loom::sync::atomic::AtomicU32;

    /// If the sleeper sleeps although there is work, somebody rang.
    #[test]
    fn loom_no_wakeup_is_lost() {
        loom::model(|| {
            let (flag, work, bell) =
                (Arc::new(SleepFlag::new()), Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
            let giver = {
                let (flag, work, bell) = (flag.clone(), work.clone(), bell.clone());
                loom::thread::spawn(move || {
                    work.store(1, Ordering::Release);
                    if flag.notify() {
                        bell.store(1, Ordering::Release);
                    }
                })
            };
            let asleep = flag.prepare_sleep(|| work.load(Ordering::Acquire) > 0);
            giver.join().unwrap();
            assert!(!asleep || bell.load(Ordering::Acquire) == 1, "slept through work");
        });
    }
}
