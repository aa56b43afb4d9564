//! A guest: one queue pair of a virtio network device, driven by hand, whose other side is a switch's vhost-user port.
//!
//! Nothing stamps the time of arrival into a frame here, as the XDP program of an interface does: a frame has arrived when the
//! tester looked ([`Arrival::seen`]), at most one of its turns after the switch had shown it.

mod frontend;
mod hostile;
mod memory;
mod ring;
#[cfg(test)]
mod tests;
mod wire;

use crate::TrafficError;
use crate::area::CHUNK;
use crate::check::{Arrival, is_pattern};
use crate::frame::{HEAD, LONGEST, PATTERN, Stream};
use frontend::{FrontEnd, Rings};
pub use hostile::{Deed, Hostile};
use memory::{BUFFERS_FIELD, HEADER, Memory, RX, SIZE, TX};
use ring::{Ring, Used};
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
pub use wire::Wire;

/// Turns between checks that the switch is alive (a system call), a power of two.
const GLANCE: u32 = 1024;

/// See the module.
#[derive(Debug)]
pub struct Guest {
    memory: Arc<Memory>,
    rx: Ring,
    tx: Ring,
    /// Descriptors to send with, the latest on top: its buffer is still in the cache.
    spare: Vec<u16>,
    /// None on a wire.
    switch: Option<FrontEnd>,
    /// What the switch did that no switch may.
    wrong: Option<String>,
    turns: u32,
    /// The frame that is being looked at.
    frame: Vec<u8>,
    dev: String,
}

impl Guest {
    /// As [`Station::guest`](super::Station::guest).
    pub(super) fn connect(socket: &Path) -> Result<Self, TrafficError> {
        let dev = socket.display().to_string();
        let open = || {
            let mut guest = Self::new(&dev)?;
            guest.switch = Some(FrontEnd::connect(socket, &guest.memory, 0, &[Rings::of(RX), Rings::of(TX)])?);
            Ok(guest)
        };
        open().map_err(|source| TrafficError::Guest { dev: dev.clone(), source })
    }

    /// As [`Station::wired`](super::Station::wired).
    pub(super) fn wired() -> Result<([Self; 2], Wire), TrafficError> {
        let new = |dev: &str| Self::new(dev).map_err(|source| TrafficError::Guest { dev: dev.to_owned(), source });
        let guests = [new("one end")?, new("other end")?];
        let wire = Wire::new(guests.each_ref().map(|guest| &guest.memory));
        Ok((guests, wire))
    }

    /// A guest that no switch knows yet. All buffers for frames to come are available.
    fn new(dev: &str) -> io::Result<Self> {
        let memory = Arc::new(Memory::new()?);
        let [mut rx, tx] = [RX, TX].map(|vring| Ring::new(&memory, vring));
        (0..SIZE).for_each(|id| rx.offer(id));
        rx.publish();
        let pattern: Vec<u8> = PATTERN[..CHUNK].iter().copied().cycle().take(LONGEST.into()).collect();
        (0..SIZE).for_each(|id| memory.write(memory::frame(TX, id), &pattern));
        Ok(Self {
            memory,
            rx,
            tx,
            spare: (0..SIZE).rev().collect(),
            switch: None,
            wrong: None,
            turns: 0,
            frame: vec![0; LONGEST.into()],
            dev: dev.to_owned(),
        })
    }

    pub(super) fn send(&mut self, stream: &Stream, numbers: Range<u64>, due: impl Fn(u64) -> u64) -> u64 {
        let mut sent = 0;
        for number in numbers {
            if !self.write(&stream.head(number, due(number)), stream.len(number)) {
                break;
            }
            sent += 1;
        }
        sent
    }

    /// As long as there are descriptors. The pattern and the header, of zeros, are in the buffers already.
    #[allow(clippy::cast_possible_truncation, reason = "no frame is longer than LONGEST")]
    fn write(&mut self, head: &[u8], len: usize) -> bool {
        let Some(id) = self.spare.pop() else { return false };
        self.memory.write(memory::frame(TX, id), head);
        self.tx.set_len(id, (HEADER + len.min(LONGEST.into())) as u32);
        self.tx.offer(id);
        true
    }

    pub(super) fn send_raw(&mut self, frame: &[u8]) -> bool {
        frame.len() <= HEAD && self.write(frame, frame.len())
    }

    pub(super) fn kick(&mut self) -> Result<(), TrafficError> {
        let wanted = self.tx.publish();
        self.tell(TX, wanted);
        let done = self.reap();
        self.note(done);
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(GLANCE) && self.switch.as_ref().is_some_and(|switch| !switch.lives()) {
            self.note(Err("the switch hung up".into()));
        }
        match &self.wrong {
            None => Ok(()),
            Some(what) => Err(TrafficError::Dead { dev: self.dev.clone(), what: what.clone() }),
        }
    }

    /// Kicks the switch, if it wants it.
    fn tell(&mut self, vring: usize, wanted: bool) {
        if let Some(switch) = self.switch.as_ref().filter(|_| wanted) {
            let told = switch.kick(vring).map_err(|error| error.to_string());
            self.note(told);
        }
    }

    /// The first thing that goes wrong stays.
    fn note(&mut self, done: Result<(), String>) {
        self.wrong = self.wrong.take().or(done.err());
    }

    /// Takes back what was sent.
    fn reap(&mut self) -> Result<(), String> {
        for _ in 0..self.tx.waiting()? {
            let used = self.tx.take()?;
            self.spare.push(used.id);
        }
        Ok(())
    }

    pub(super) fn is_done(&self) -> bool {
        self.spare.len() == usize::from(SIZE)
    }

    pub(super) fn receive(&mut self, most: u32, seen: u64, mut take: impl FnMut(&Arrival<'_>)) -> u32 {
        let mut frames = 0;
        let looked = self.look(most, seen, |arrival| {
            frames += 1;
            take(arrival);
        });
        self.note(looked);
        let wanted = self.rx.publish();
        self.tell(RX, wanted);
        frames
    }

    fn look(&mut self, most: u32, seen: u64, mut take: impl FnMut(&Arrival<'_>)) -> Result<(), String> {
        let mut left = self.rx.waiting()?;
        for _ in 0..most {
            if left == 0 {
                break;
            }
            left -= self.take_one(left, seen, &mut take)?;
        }
        Ok(())
    }

    /// Shows a frame and refills its buffers; how many there were. One, unless it is longer than any of ours.
    fn take_one(&mut self, left: u16, seen: u64, take: &mut impl FnMut(&Arrival<'_>)) -> Result<u16, String> {
        let used = self.rx.take()?;
        let buffers: u16 = self.memory.get(memory::header(RX, used.id) + BUFFERS_FIELD, Relaxed);
        let len = self.read(used)?;
        let mut more = 0;
        for _ in 1..buffers {
            if left == 1 + more {
                return Err(format!("a frame is in {buffers} buffers of {left}"));
            }
            let id = self.rx.take()?.id;
            self.rx.offer(id);
            more += 1;
        }
        let rest = self.frame[..len].chunks(CHUNK).skip(1);
        let rest_is_whole = more == 0 && rest.into_iter().all(|piece| is_pattern(piece, 0));
        take(&Arrival { first: &self.frame[..len.min(CHUNK)], len, rest_is_whole, seen });
        Ok(1 + more)
    }

    /// Copies a frame out of its buffer, which is available again; its length.
    fn read(&mut self, used: Used) -> Result<usize, String> {
        let len = used.len.checked_sub(HEADER).ok_or("a frame is shorter than its header")?;
        self.memory.read(memory::frame(RX, used.id), &mut self.frame[..len]);
        self.rx.offer(used.id);
        Ok(len)
    }
}
