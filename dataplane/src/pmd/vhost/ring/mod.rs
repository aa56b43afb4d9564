//! Virtqueues as a device sees them, polled: virtio 1.2 §2.7 (split) and §2.8 (packed).
//!
//! A ring is frozen when it is attached: size, addresses and features are checked once and never looked up again.
//! What the guest writes later is read once and checked whole before it is used: indexes against the frozen size,
//! chains against the number of descriptors there can be, and may be (`Chain`), addresses by [`GuestMemory`].
//! Whatever cannot be is a [`RingFault`], and the ring is not touched again.
//!
//! Descriptors are used in the order they were made available, whether or not IN_ORDER was agreed. So the device's
//! whole state is one position, and it lies in the guest: the used index of a split ring, a word that is ours in a packed
//! one. A switch that starts anew takes it from there, and needs no record of descriptors in flight
//! (VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD), which is for devices that use them in any order.
//!
//! Owner: the worker that owns the queue pair.

mod chain;
#[cfg(all(test, loom))]
mod loom_tests;
mod notify;
pub(super) mod packed;
pub(super) mod split;

use super::memory::{GuestMemory, Unmapped};
pub(super) use chain::{Budget, Chain, Seg};
pub use chain::{MAX_CHAIN, MAX_COST};
use std::sync::Arc;

/// Most descriptors of a ring (virtio 1.2 §2.7, §2.8).
pub const MAX_SIZE: u16 = 1 << 15;
/// Most chains that one frame is spread over (VIRTIO_NET_F_MRG_RXBUF). 64 KiB take 44 of Linux' smallest buffers.
pub(super) const MAX_MERGED: usize = 128;

/// Descriptor flags, the same in both formats.
const NEXT: u16 = 1;
const WRITE: u16 = 2;
const INDIRECT: u16 = 4;
/// Bytes of a descriptor.
const DESC: usize = 16;

/// What a guest did that no driver does; ends its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RingFault {
    /// More made available than the ring holds.
    #[error("its avail index jumped: {0} descriptors available in a ring of {1}")]
    AvailJump(u16, u16),
    /// An index beyond the table.
    #[error("descriptor {0} of a table of {1}")]
    Index(u32, u32),
    /// A chain that loops, or is longer than the ring.
    #[error("a descriptor chain longer than its ring of {0}, or one that loops")]
    Endless(u16),
    /// A chain that is longer than any device takes.
    #[error("a chain of more than {MAX_CHAIN} descriptors")]
    Long,
    /// Not a whole number of descriptors, none, too many, or nested.
    #[error("an indirect table of {0} bytes where there can be none")]
    Indirect(u32),
    /// A buffer to write where one to read belongs, or the other way round.
    #[error("a buffer that goes the wrong way")]
    Direction,
    /// No memory there.
    #[error("an address outside the memory it shares: {0:#x}")]
    Unmapped(u64),
    /// Pages it had shared are gone.
    #[error("it took back memory that it shares")]
    Torn,
}

/// A chain taken off a ring, to be given back by [`Ring::give`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    /// What the driver calls it.
    pub(super) id: u16,
    /// Descriptors of the ring it takes up.
    pub(super) slots: u16,
    /// Bytes of its buffers.
    pub(super) bytes: u64,
}

/// Where in the ring the device is, to go back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) index: u16,
    pub(super) wrap: bool,
}

/// A descriptor, read once. `next` is the buffer's id in a packed ring.
#[derive(Debug, Clone, Copy)]
struct Desc {
    addr: u64,
    len: u32,
    flags: u16,
    next: u16,
}

impl Desc {
    /// Of a split ring (§2.7.5), from its two little-endian words.
    #[inline]
    #[allow(clippy::cast_possible_truncation, reason = "takes the word apart")]
    fn split(addr: u64, rest: u64) -> Self {
        Self { addr, len: rest as u32, flags: (rest >> 32) as u16, next: (rest >> 48) as u16 }
    }

    /// Of a packed ring (§2.8.13).
    #[inline]
    fn packed(addr: u64, rest: u64) -> Self {
        let Self { flags, next, .. } = Self::split(addr, rest);
        Self { flags: next, next: flags, ..Self::split(addr, rest) }
    }

    /// Number of descriptors of the indirect table that this one points to.
    fn table(&self, size: u16) -> Result<u32, RingFault> {
        const EACH: u32 = 16;
        let n = self.len / EACH;
        let whole = self.len.is_multiple_of(EACH) && (1..=u32::from(size)).contains(&n);
        if whole && self.flags & NEXT == 0 { Ok(n) } else { Err(RingFault::Indirect(self.len)) }
    }
}

/// One descriptor of an indirect table, as its two words.
fn indirect_words(memory: &GuestMemory, table: u64, i: u32) -> Result<(u64, u64), RingFault> {
    let at = table.wrapping_add(u64::from(i) * DESC as u64);
    let mut bytes = [0; DESC];
    memory.read(at, &mut bytes).map_err(|Unmapped| RingFault::Unmapped(at))?;
    let word = |at: usize| u64::from_le_bytes(*bytes[at..].first_chunk().unwrap_or(&[0; 8]));
    Ok((word(0), word(8)))
}

/// Where a ring lies and how it is spoken.
#[derive(Debug, Clone)]
pub struct RingSpec {
    /// The memory it lies in.
    pub memory: Arc<GuestMemory>,
    /// Number of descriptors.
    pub size: u16,
    /// Descriptor area, in the front end's addresses; so for all.
    pub desc: u64,
    /// Driver area: avail ring, or driver event suppression.
    pub avail: u64,
    /// Device area: used ring, or device event suppression.
    pub used: u64,
    /// SET_VRING_BASE, for a packed ring: index and wrap bit of avail in the low half, of used in the high half.
    pub base: u32,
    /// VIRTIO_F_RING_PACKED.
    pub packed: bool,
    /// VIRTIO_RING_F_EVENT_IDX.
    pub event_idx: bool,
    /// VIRTIO_RING_F_INDIRECT_DESC.
    pub indirect: bool,
}

/// Why a ring cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RingError {
    /// 0, too many, or (split) no power of two.
    #[error("a ring of {0} descriptors; a power of two up to {MAX_SIZE} is possible")]
    Size(u32),
    /// Outside or askew.
    #[error("its {0} area does not lie in the memory it shares, or is not aligned")]
    Area(&'static str),
    /// Outside the ring.
    #[error("a base of {0:#x} outside a ring of {1}")]
    Base(u32, u16),
}

/// What both formats can do. A closed pair, matched once per burst.
pub(super) trait Ring {
    /// Takes the next chain: its buffers are added to `chain`. `None`: there is none.
    fn take(&mut self, chain: &mut Chain, to_write: bool) -> Result<Option<Head>, RingFault>;
    /// Starts to fetch the buffers of up to `n` chains to come. Whatever it reads is only a hint.
    fn prefetch(&mut self, n: u16, to_write: bool);
    /// Where it is.
    fn mark(&self) -> Mark;
    /// Goes back: what was taken since, and not given, is available again.
    fn rewind(&mut self, mark: Mark);
    /// Gives a chain back with `len` bytes written. The driver sees it after [`publish`](Self::publish).
    fn give(&mut self, head: Head, len: u32);
    /// Shows the driver what was given.
    fn publish(&mut self);
    /// Whether the driver wants a call for what was published since this was last asked.
    fn wants_call(&mut self) -> bool;
    /// Asks for a kick; false if there is something already.
    fn arm(&mut self) -> bool;
    /// Asks for no kicks.
    fn disarm(&mut self);
    /// Chains or descriptors that wait, for display.
    fn pending(&self) -> u16;
    /// What GET_VRING_BASE answers.
    fn base(&self) -> u32;
    /// The front end knows the position from now on: what was written down of it does not count.
    fn forget(&mut self) {}
    /// The memory it lies in.
    fn memory(&self) -> &Arc<GuestMemory>;
}
