//! An interface driven by one AF_XDP socket in copy mode, which every interface supports. A thread of its own opens it in its
//! namespace; any thread may use it.

use super::{LOOK, within};
use crate::TrafficError;
use crate::area::{Area, CHUNK};
use crate::check::{Arrival, is_pattern};
use crate::frame::{HEAD, PATTERN, Stream};
use crate::program::Program;
use af_xdp::{Desc, Mode, OPTION_CONTD, Queue, SocketConfig, Statistics, Unbound, Wakeup};
use nix::net::if_::if_nametoindex;
use std::ops::Range;
use std::os::fd::AsFd;

/// Entries of the TX ring, and as many chunks.
const TX: u32 = 2048;
/// Entries of the RX ring, and as many chunks.
const RX: u32 = 4096;
const QUEUE: u32 = 0;

/// See the module.
#[derive(Debug)]
pub struct Xdp {
    // dropped in this order: no program, no socket, then the memory
    _program: Program,
    queue: Queue,
    area: Area,
    /// Chunks to send from.
    spare: Vec<u32>,
    /// Chunks that came in this turn.
    taken: Vec<u32>,
    dev: String,
}

impl Xdp {
    /// As [`Station::interface`](super::Station::interface).
    pub(super) fn open(netns: Option<&str>, dev: &str) -> Result<Self, TrafficError> {
        within(netns, dev, || Self::open_here(dev))
    }

    fn open_here(dev: &str) -> Result<Self, TrafficError> {
        let index = if_nametoindex(dev).map_err(|source| TrafficError::Interface { dev: dev.to_owned(), source })?;
        let program = Program::attach(index, QUEUE + 1)?;
        let mut area = Area::new(TX + RX);
        let mut unbound = Unbound::new(&config(index), &area.umem())?;
        let n = unbound.fill().reserve(RX);
        (0..n).for_each(|i| unbound.fill().write(i, area.lend(TX + i)));
        unbound.fill().submit(n);
        let queue = unbound.bind()?;
        (0..TX).for_each(|chunk| area.chunk_mut(chunk).copy_from_slice(&PATTERN[..CHUNK]));
        program.insert(index, QUEUE, queue.socket.as_fd())?;
        let (spare, taken) = ((0..TX).collect(), Vec::with_capacity(LOOK as usize));
        Ok(Self { _program: program, queue, area, spare, taken, dev: dev.to_owned() })
    }

    #[allow(clippy::cast_possible_truncation, reason = "frames of a burst, bytes of a frame")]
    pub(super) fn send(&mut self, stream: &Stream, numbers: Range<u64>, due: impl Fn(u64) -> u64) -> u64 {
        let most = pieces(usize::from(stream.sizes.longest())) as u64 * (numbers.end - numbers.start);
        let room = self.queue.tx.reserve(most.min(u64::from(TX)) as u32).min(self.spare.len() as u32);
        let (mut used, mut sent) = (0, 0);
        for number in numbers {
            let len = stream.len(number);
            if used + pieces(len) > room {
                break;
            }
            self.write(used, &stream.head(number, due(number)), len);
            used += pieces(len);
            sent += 1;
        }
        self.queue.tx.submit(used);
        sent
    }

    /// One frame into reserved entries from `at` on.
    #[allow(clippy::cast_possible_truncation, reason = "at most CHUNK")]
    fn write(&mut self, at: u32, head: &[u8; HEAD], len: usize) {
        for piece in 0..pieces(len) {
            let Some(chunk) = self.spare.pop() else { return };
            let first: &[u8] = if piece == 0 { head } else { &PATTERN[..HEAD] };
            self.area.chunk_mut(chunk)[..HEAD].copy_from_slice(first);
            let left = len - piece as usize * CHUNK;
            let options = if left > CHUNK { OPTION_CONTD } else { 0 };
            let desc = Desc { addr: self.area.lend(chunk), len: left.min(CHUNK) as u32, options };
            self.queue.tx.write(at + piece, desc);
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "at most HEAD")]
    pub(super) fn send_raw(&mut self, frame: &[u8]) -> bool {
        if frame.len() > HEAD || self.queue.tx.reserve(1) == 0 {
            return false;
        }
        let Some(chunk) = self.spare.pop() else { return false };
        self.area.chunk_mut(chunk)[..frame.len()].copy_from_slice(frame);
        let desc = Desc { addr: self.area.lend(chunk), len: frame.len() as u32, options: 0 };
        self.queue.tx.write(0, desc);
        self.queue.tx.submit(1);
        true
    }

    pub(super) fn kick(&mut self) -> Result<(), TrafficError> {
        if self.queue.tx.backlog() > 0 {
            match self.queue.socket.wakeup_tx() {
                Wakeup::Done | Wakeup::Again => {}
                other => return Err(TrafficError::Dead { dev: self.dev.clone(), what: format!("{other:?}") }),
            }
        }
        let n = self.queue.completion.peek(TX);
        for i in 0..n {
            self.spare.push(self.area.claim(self.queue.completion.read(i)));
        }
        self.queue.completion.release(n);
        Ok(())
    }

    pub(super) fn is_done(&self) -> bool {
        self.spare.len() == TX as usize
    }

    pub(super) fn receive(&mut self, most: u32, seen: u64, mut take: impl FnMut(&Arrival<'_>)) -> u32 {
        let available = self.queue.rx.peek(LOOK);
        let (mut frames, mut done) = (0, 0);
        while frames < most {
            let Some(last) = (done..available).find(|i| self.queue.rx.read(*i).options & OPTION_CONTD == 0) else {
                break;
            };
            (done..=last).for_each(|i| self.taken.push(self.area.claim(self.queue.rx.read(i).addr)));
            take(&self.arrival(done, last, seen));
            done = last + 1;
            frames += 1;
        }
        self.queue.rx.release(done);
        self.refill();
        frames
    }

    /// The frame in the peeked entries `first` to `last`.
    fn arrival(&self, first: u32, last: u32, seen: u64) -> Arrival<'_> {
        let piece = |i: u32| {
            let desc = self.queue.rx.read(i);
            self.area.bytes(desc.addr, desc.len)
        };
        let mut arrival = Arrival { first: piece(first), len: piece(first).len(), rest_is_whole: true, seen };
        for i in first + 1..=last {
            arrival.rest_is_whole &= follows(piece(i), arrival.len);
            arrival.len += piece(i).len();
        }
        arrival
    }

    /// Everything taken goes back to the kernel. The fill ring has room: it was full of these chunks before.
    #[allow(clippy::cast_possible_truncation, reason = "at most LOOK")]
    fn refill(&mut self) {
        let n = self.queue.fill.reserve(self.taken.len() as u32);
        for i in 0..n {
            let Some(chunk) = self.taken.pop() else { break };
            self.queue.fill.write(i, self.area.lend(chunk));
        }
        self.queue.fill.submit(n);
    }

    pub(super) fn missed(&self) -> Result<u64, TrafficError> {
        let statistics = self.queue.socket.statistics();
        // a frame that finds the fill ring empty counts as dropped too
        let missed = |s: Statistics| s.rx_dropped + s.rx_ring_full;
        statistics.map(missed).map_err(|source| TrafficError::Statistics { dev: self.dev.clone(), source })
    }
}

/// Chunks a frame of `len` bytes takes.
#[allow(clippy::cast_possible_truncation, reason = "frames are shorter than 64 KiB")]
fn pieces(len: usize) -> u32 {
    len.div_ceil(CHUNK) as u32
}

/// Whether a later piece holds what comes after `before` bytes; the kernel cuts at multiples of 256.
fn follows(piece: &[u8], before: usize) -> bool {
    before.is_multiple_of(256) && is_pattern(piece, 0)
}

fn config(ifindex: u32) -> SocketConfig {
    SocketConfig {
        rx_size: RX,
        fill_size: RX,
        tx_size: TX,
        completion_size: TX,
        mode: Mode::Copy,
        tx_budget: Some(TX),
        send_buffer: Some(1 << 24),
        ..SocketConfig::new(ifindex, QUEUE)
    }
}
