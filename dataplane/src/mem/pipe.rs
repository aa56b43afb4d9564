//! A pipe: a [`ring`](crate::ring) of frames that bounds the chunks in it, not only the frames. A ring of long frames would
//! otherwise hold more of the pool than a switch can spare: 2048 frames of 64 KiB are 70 000 chunks.
//!
//! A frame takes a slot for its first chunk. The chunks behind it are counted beside the ring: the sender adds those of
//! what it sends, the receiver those of what it has taken out. A pipe of `n` slots so holds at most `n` chunks (at least
//! one frame of [`MAX_SEGMENTS`]). Frames of one chunk write no counter.
//!
//! Owner threads: as of the ring's halves.

use super::mempool::MAX_SEGMENTS;
use super::{BURST_SIZE, Burst, Mbuf};
use crate::ring::{Consumer, Producer, ring};
use arrayvec::ArrayVec;
use crossbeam::utils::CachePadded;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Chunks behind first ones that the receiver has taken out, wrapping. The receiver alone writes it. Relaxed on both
/// sides: a value from before errs towards full, and the ring orders the frames themselves.
type Taken = Arc<CachePadded<AtomicU32>>;

/// The sending half.
#[derive(Debug)]
pub struct Sender<T> {
    ring: Producer<T>,
    /// Chunks behind first ones that were sent, wrapping.
    sent: u32,
    taken: Taken,
    slots: usize,
    /// Chunks that the pipe holds beyond one per slot: so that one of few slots takes the longest frame.
    beyond: usize,
}

/// The receiving half.
#[derive(Debug)]
pub struct Receiver<T> {
    ring: Consumer<T>,
    taken: Taken,
}

/// What was sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Frames.
    pub frames: usize,
    /// Bytes of them.
    pub bytes: usize,
}

/// A pipe of `slots` (a power of two) frames, and as many chunks.
#[must_use]
pub fn pipe<T: Send>(slots: u32) -> (Sender<T>, Receiver<T>) {
    let (producer, consumer) = ring(slots);
    let (taken, slots) = (Taken::default(), slots as usize);
    let beyond = MAX_SEGMENTS.saturating_sub(slots);
    (Sender { ring: producer, sent: 0, taken: Arc::clone(&taken), slots, beyond }, Receiver { ring: consumer, taken })
}

impl<T: Send> Sender<T> {
    /// Sends the first frames of `burst`, each as `wrap` makes it; what does not fit stays, in order.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst, wrap: impl FnMut(Mbuf) -> T) -> Sent {
        let (mut chunks, mut bytes) = (0, 0);
        for mbuf in burst.iter() {
            (chunks, bytes) = (chunks + mbuf.segments(), bytes + mbuf.len());
        }
        // One after the other: whoever has room for all of them needs no look at each.
        let mut sent = Sent { frames: burst.len(), bytes };
        let behind = self.behind();
        let room = self.ring.room_for(chunks + behind);
        if chunks + behind > room {
            (sent, chunks) = first_that_fit(burst, room, (room + self.beyond).saturating_sub(behind));
        }
        #[allow(clippy::cast_possible_truncation, reason = "at most 32 frames of 64 chunks")]
        let more = (chunks - sent.frames) as u32;
        self.sent = self.sent.wrapping_add(more);
        self.ring.enqueue(burst.drain(..sent.frames).map(wrap));
        sent
    }

    /// Chunks in the pipe behind first ones.
    #[inline]
    fn behind(&self) -> usize {
        self.sent.wrapping_sub(self.taken.load(Ordering::Relaxed)) as usize
    }

    /// Chunks in the pipe.
    #[must_use]
    pub fn held(&mut self) -> usize {
        self.slots - self.ring.room_for(self.slots) + self.behind()
    }
}

/// Of a burst for which there is not enough room, the first frames that fit into `slots` slots and `room` chunks; and
/// their chunks.
#[cold]
fn first_that_fit(burst: &Burst, slots: usize, room: usize) -> (Sent, usize) {
    let (mut sent, mut chunks) = (Sent::default(), 0);
    for mbuf in burst.iter().take(slots) {
        if chunks + mbuf.segments() > room {
            break;
        }
        chunks += mbuf.segments();
        sent = Sent { frames: sent.frames + 1, bytes: sent.bytes + mbuf.len() };
    }
    (sent, chunks)
}

impl<T: Send + AsRef<Mbuf>> Receiver<T> {
    /// Takes out up to a burst of frames; `out` is empty.
    #[inline]
    pub fn receive(&mut self, out: &mut ArrayVec<T, BURST_SIZE>) -> usize {
        debug_assert!(out.is_empty(), "what is in it would be counted as taken");
        let n = self.ring.dequeue_burst(out);
        let chunks: usize = out.iter().map(|frame| frame.as_ref().segments()).sum();
        if chunks > n {
            #[allow(clippy::cast_possible_truncation, reason = "at most 32 frames of 64 chunks")]
            self.taken.store(self.taken.load(Ordering::Relaxed).wrapping_add((chunks - n) as u32), Ordering::Relaxed);
        }
        n
    }

    /// Whether nothing waits: the check before sleep, as of [`Consumer::is_empty`].
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::{Arena, ArenaConfig, Hugepages, Mempool, MempoolCache};

    const LONG: usize = 65_000;

    fn mem() -> MempoolCache {
        MempoolCache::new(&Mempool::new(Arena::new(&ArenaConfig { frames: 4096, hugepages: Hugepages::Off }).unwrap()))
    }

    /// A burst of frames of these lengths is sent, and what does not fit is freed; how many were sent.
    fn send(pipe: &mut Sender<Mbuf>, mem: &mut MempoolCache, lengths: &[usize]) -> usize {
        let mut burst: Burst = lengths.iter().map(|len| mem.alloc_len(*len).unwrap()).collect();
        let sent = pipe.send(&mut burst, |mbuf| mbuf);
        assert_eq!(sent.bytes, lengths[..sent.frames].iter().sum::<usize>());
        assert!(burst.iter().map(Mbuf::len).eq(lengths[sent.frames..].iter().copied()), "the rest, in order");
        mem.free_burst(&mut burst);
        sent.frames
    }

    fn receive(pipe: &mut Receiver<Mbuf>, mem: &mut MempoolCache) -> usize {
        let mut burst = Burst::new();
        let n = pipe.receive(&mut burst);
        mem.free_burst(&mut burst);
        n
    }

    #[test]
    fn a_pipe_holds_as_many_chunks_as_it_has_slots() {
        let (mut mem, (mut tx, mut rx)) = (mem(), pipe(256));
        let each = mem.alloc_len(LONG).map(|mbuf| (mbuf.segments(), mem.free(mbuf)).0).unwrap();
        for _ in 0..1000 {
            assert_eq!(send(&mut tx, &mut mem, &[LONG; 32]), 256 / each);
            assert_eq!(send(&mut tx, &mut mem, &[LONG]), 0, "as many as there is room for");
            assert_eq!(send(&mut tx, &mut mem, &[60; 32]), 256 % each, "short ones go into the rest");
            assert_eq!(tx.held(), 256);
            assert_eq!(receive(&mut rx, &mut mem), 256 / each + 256 % each);
        }
        assert!(rx.is_empty() && tx.held() == 0);
    }

    #[test]
    fn short_frames_fill_every_slot_and_a_pipe_of_few_takes_a_long_frame() {
        let (mut mem, (mut tx, mut rx)) = (mem(), pipe(16));
        assert_eq!(send(&mut tx, &mut mem, &[60; 32]), 16);
        assert_eq!(receive(&mut rx, &mut mem), 16);
        assert_eq!(send(&mut tx, &mut mem, &[LONG]), 1);
        assert_eq!(send(&mut tx, &mut mem, &[LONG]), 0, "and no second one");
        assert_eq!(receive(&mut rx, &mut mem), 1);
    }
}
