//! A split ring from the driver's side. Each descriptor has its own buffer, so that descriptors are written once.
//!
//! What the switch wrote is checked: a descriptor comes back once, and only if it was made available.

use super::memory::{self, BASE, Memory, ROOM, SIZE};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::fence;

/// Descriptor flag: the switch writes.
const WRITE: u64 = 2;
/// `VRING_AVAIL_F_NO_INTERRUPT`, `VRING_USED_F_NO_NOTIFY`.
const NOT_WANTED: u16 = 1;

/// See the module.
#[derive(Debug)]
pub struct Ring {
    memory: Arc<Memory>,
    vring: usize,
    /// Index after the last entry written to the avail part.
    avail: u16,
    /// The same as the switch sees it.
    published: u16,
    /// Index of the next entry of the used part.
    used: u16,
    /// Whether the switch has it, by descriptor.
    lent: Vec<bool>,
}

/// A descriptor that came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Which.
    pub id: u16,
    /// Bytes the switch says it wrote, at most [`ROOM`].
    pub len: usize,
}

impl Ring {
    /// With all its descriptors written and none available; no interrupts are wanted.
    pub fn new(memory: &Arc<Memory>, vring: usize) -> Self {
        let flags = if vring == memory::RX { WRITE } else { 0 };
        for id in 0..SIZE {
            let at = memory::desc(vring, id);
            memory.put(at, BASE + memory::header(vring, id) as u64, Relaxed);
            memory.put(at + 8, ROOM as u64 | flags << 32, Relaxed);
        }
        memory.put(memory::avail(vring), NOT_WANTED, Relaxed);
        let lent = vec![false; SIZE.into()];
        Self { memory: Arc::clone(memory), vring, avail: 0, published: 0, used: 0, lent }
    }

    /// Sets what the switch is to read of a buffer.
    pub fn set_len(&self, id: u16, len: u32) {
        self.memory.put(memory::desc(self.vring, id) + 8, len, Relaxed);
    }

    /// Makes a descriptor available with the next [`publish`](Self::publish).
    pub fn offer(&mut self, id: u16) {
        self.lent[usize::from(id)] = true;
        self.memory.put(memory::avail_entry(self.vring, self.avail), id, Relaxed);
        self.avail = self.avail.wrapping_add(1);
    }

    /// Shows the switch what was offered; whether it wants to be told.
    pub fn publish(&mut self) -> bool {
        if self.avail == self.published {
            return false;
        }
        self.published = self.avail;
        // pairs with the switch's acquire of the index: it sees buffers and entries
        self.memory.put(memory::index(memory::avail(self.vring)), self.avail, Release);
        // either we see that it waits for a kick, or it sees the new index when it looks once more before it waits
        fence(SeqCst);
        self.memory.get::<u16>(memory::used(self.vring), Relaxed) & NOT_WANTED == 0
    }

    /// How many descriptors came back and were not taken yet.
    pub fn waiting(&self) -> Result<u16, String> {
        // pairs with the switch's release of the index: we see entries and buffers
        let index: u16 = self.memory.get(memory::index(memory::used(self.vring)), Acquire);
        let (n, most) = (index.wrapping_sub(self.used), self.published.wrapping_sub(self.used));
        if n <= most { Ok(n) } else { Err(format!("its used index says {n} descriptors, it has {most}")) }
    }

    /// The next descriptor that came back; there must be one.
    pub fn take(&mut self) -> Result<Used, String> {
        let at = memory::used_entry(self.vring, self.used);
        let [id, len]: [u32; 2] = [at, at + 4].map(|at| self.memory.get(at, Relaxed));
        let used = self.check(id, len).ok_or_else(|| format!("it used descriptor {id} with {len} bytes"))?;
        self.lent[usize::from(used.id)] = false;
        self.used = self.used.wrapping_add(1);
        Ok(used)
    }

    fn check(&self, id: u32, len: u32) -> Option<Used> {
        let used = Used { id: u16::try_from(id).ok()?, len: usize::try_from(len).ok()? };
        let lent = *self.lent.get(usize::from(used.id))?;
        (lent && used.len <= ROOM).then_some(used)
    }
}
