//! A guest's memory file cut short under us: the access to a page that is gone raises SIGBUS, which would end the
//! process. Here it ends the port instead: the handler puts zero pages in place of the whole mapping and marks it
//! torn; the worker goes on, finds the mark after its burst, and the port goes down.
//!
//! The same is done by Wayland compositors for the buffers of their clients (wl_shm_buffer_begin_access,
//! wayland-shm.c). Seals (F_SEAL_SHRINK) would do without, but QEMU's memory files have none.
//!
//! Invariants:
//! - B1: a slot with a length is a mapping that stays until the slot is released, so that the handler replaces only
//!   what is ours.
//! - B2: the handler calls only what is safe in a signal handler (mmap is one system call) and touches atomics only.

#![allow(unsafe_code)]

use nix::libc;
use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Most regions that can be watched at a time.
pub const MOST: usize = 4096;

/// A mapping that is watched.
struct Slot {
    taken: AtomicBool,
    base: AtomicUsize,
    /// 0: nothing to mend.
    len: AtomicUsize,
    torn: AtomicBool,
}

static SLOTS: [Slot; MOST] = [const {
    Slot {
        taken: AtomicBool::new(false),
        base: AtomicUsize::new(0),
        len: AtomicUsize::new(0),
        torn: AtomicBool::new(false),
    }
}; MOST];

/// What handled SIGBUS before us.
static BEFORE: OnceLock<libc::sigaction> = OnceLock::new();

/// One watched mapping.
#[derive(Debug)]
pub(super) struct Watched(usize);

impl Watched {
    /// Watches `len` bytes at `base`; `None` if too many are watched, or the handler cannot be set.
    pub(super) fn new(base: usize, len: usize) -> Option<Self> {
        install()?;
        // Relaxed: the slot is nobody's until `len` is set.
        let free = |slot: &Slot| !slot.taken.swap(true, Ordering::Relaxed);
        let index = SLOTS.iter().position(free)?;
        let slot = &SLOTS[index];
        slot.torn.store(false, Ordering::Relaxed);
        slot.base.store(base, Ordering::Relaxed);
        // Release: pairs with the Acquire in `mend`, which then finds the base.
        slot.len.store(len, Ordering::Release);
        Some(Self(index))
    }

    /// Whether pages were taken away.
    #[inline]
    pub(super) fn is_torn(&self) -> bool {
        // Relaxed: set by a signal on the thread that asks, or soon seen.
        SLOTS[self.0].torn.load(Ordering::Relaxed)
    }
}

impl Drop for Watched {
    /// Watches no longer; before the mapping goes (B1).
    fn drop(&mut self) {
        SLOTS[self.0].len.store(0, Ordering::Release);
        SLOTS[self.0].taken.store(false, Ordering::Release);
    }
}

/// Sets the handler, once.
fn install() -> Option<()> {
    if BEFORE.get().is_some() {
        return Some(());
    }
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: plain data, for which all zeros is a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    let handler: extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) = on_sigbus;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: both point to a sigaction; the handler keeps to B2.
    let done = unsafe { libc::sigaction(libc::SIGBUS, &raw const action, before.as_mut_ptr()) };
    // SAFETY: zeroed, and written by the call if it succeeded.
    let before = unsafe { before.assume_init() };
    // If two threads came at once, the second found our own handler, which is not what was before.
    if before.sa_sigaction != handler as usize {
        let _first = BEFORE.get_or_init(|| before);
    }
    (done == 0).then_some(())
}

extern "C" fn on_sigbus(_signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: the kernel passes a siginfo, and SIGBUS has an address in it.
    let addr = unsafe { (*info).si_addr() }.addr();
    if !mend(addr) {
        restore();
    }
}

/// Puts zero pages where the watched mapping around `addr` was; false if there is none.
fn mend(addr: usize) -> bool {
    for slot in &SLOTS {
        // Acquire: pairs with the Release in `new`.
        let len = slot.len.load(Ordering::Acquire);
        let base = slot.base.load(Ordering::Relaxed);
        if addr.wrapping_sub(base) >= len {
            continue;
        }
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE;
        let (prot, at) = (libc::PROT_READ | libc::PROT_WRITE, std::ptr::without_provenance_mut(base));
        // SAFETY: B1: replaces a mapping of guest memory, which is never known as a value (memory.rs, G3).
        let done = unsafe { libc::mmap(at, len, prot, flags, -1, 0) };
        slot.torn.store(true, Ordering::Relaxed);
        return done != libc::MAP_FAILED;
    }
    false
}

/// Not ours: as it was before us. The access is tried again and meets the old handler.
fn restore() {
    // SAFETY: plain data, for which all zeros is a value, and means the default action.
    let default: libc::sigaction = unsafe { std::mem::zeroed() };
    let before = BEFORE.get().unwrap_or(&default);
    // SAFETY: sigaction is safe in a handler (B2), and `before` came from it.
    unsafe { libc::sigaction(libc::SIGBUS, before, std::ptr::null_mut()) };
}
