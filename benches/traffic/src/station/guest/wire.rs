//! A link between two guests of this process: the least that can be between them.
//!
//! It is the device of both, without a socket and without checks: both drivers are ours, and each descriptor has a buffer whose
//! place is known. A frame for which there is no buffer yet stays with its sender. The link must be faster than the guests, so
//! it works on bursts: loads of many frames are in flight at the same time.

use super::memory::{self, BUFFERS_FIELD, HEADER, Memory, RX, SIZE, TX};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Frames moved at a time, each way.
const BURST: usize = 32;
/// `VRING_USED_F_NO_NOTIFY`.
const NO_NOTIFY: u16 = 1;

/// See the module.
#[derive(Debug)]
pub struct Wire {
    ends: [End; 2],
}

/// One of the two guests.
#[derive(Debug)]
struct End {
    memory: Arc<Memory>,
    /// Index of the next entry, of RX and TX, in avail and used part alike: descriptors are used in order.
    next: [u16; 2],
}

impl Wire {
    pub(super) fn new(memories: [&Arc<Memory>; 2]) -> Self {
        Self { ends: memories.map(End::new) }
    }

    /// Moves a burst each way; how many frames.
    pub fn carry(&mut self) -> usize {
        let [one, two] = &mut self.ends;
        one.send_to(two) + two.send_to(one)
    }
}

impl End {
    /// Every frame is alone in its buffer: the header says so once and for all.
    fn new(memory: &Arc<Memory>) -> Self {
        [RX, TX].iter().for_each(|vring| memory.put(memory::used(*vring), NO_NOTIFY, Relaxed));
        (0..SIZE).for_each(|id| memory.put(memory::header(RX, id) + BUFFERS_FIELD, 1_u16, Relaxed));
        Self { memory: Arc::clone(memory), next: [0; 2] }
    }

    fn send_to(&mut self, to: &mut Self) -> usize {
        let n = usize::from(self.waiting(TX).min(to.waiting(RX))).min(BURST);
        if n > 0 {
            self.send(to, n);
            self.publish(TX);
            to.publish(RX);
        }
        n
    }

    fn send(&mut self, to: &mut Self, n: usize) {
        let (mut ids, mut to_ids, mut lens) = ([0; BURST], [0; BURST], [0; BURST]);
        let (ids, to_ids, lens) = (&mut ids[..n], &mut to_ids[..n], &mut lens[..n]);
        self.available(TX, ids);
        to.available(RX, to_ids);
        lens.iter_mut().zip(&*ids).for_each(|(len, id)| *len = self.len(*id));
        for ((id, to_id), len) in ids.iter().zip(&*to_ids).zip(&*lens) {
            let bytes = *len as usize - HEADER;
            self.memory.copy(memory::frame(TX, *id), bytes, &to.memory, memory::frame(RX, *to_id));
        }
        ids.iter().for_each(|id| self.use_up(TX, *id, 0));
        to_ids.iter().zip(&*lens).for_each(|(id, len)| to.use_up(RX, *id, *len));
    }

    /// How many descriptors the driver made available.
    fn waiting(&self, vring: usize) -> u16 {
        // pairs with the driver's release of the index
        let index: u16 = self.memory.get(memory::index(memory::avail(vring)), Acquire);
        index.wrapping_sub(self.next[vring])
    }

    /// The next ones.
    fn available(&self, vring: usize, ids: &mut [u16]) {
        for (index, id) in (0..).zip(ids) {
            *id = self.memory.get(memory::avail_entry(vring, self.next[vring].wrapping_add(index)), Relaxed);
        }
    }

    /// Of header and frame to be sent. The frame's first bytes are on their way when they are copied.
    fn len(&self, id: u16) -> u32 {
        black_box(self.memory.get::<u64>(memory::frame(TX, id), Relaxed));
        self.memory.get(memory::desc(TX, id) + 8, Relaxed)
    }

    fn use_up(&mut self, vring: usize, id: u16, len: u32) {
        let at = memory::used_entry(vring, self.next[vring]);
        self.memory.put(at, u32::from(id), Relaxed);
        self.memory.put(at + 4, len, Relaxed);
        self.next[vring] = self.next[vring].wrapping_add(1);
    }

    fn publish(&self, vring: usize) {
        // pairs with the driver's acquire of the index
        self.memory.put(memory::index(memory::used(vring)), self.next[vring], Release);
    }
}
