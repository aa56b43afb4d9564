//! A guest that means ill and keeps to the letter: every descriptor it offers is legal, and all of it is work for nothing.
//!
//! For soaks and tests of what a switch lets one guest do to the others. Its rings are as long as virtio allows, and each entry
//! names the same few descriptors, so that one store to the avail index is a ring full of work.

use super::frontend::{FrontEnd, Rings};
use super::memory::{BASE, HEADER, Memory, RX, TX};
use crate::TrafficError;
use std::io;
use std::path::Path;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// Descriptors of a ring: the most that virtio allows (virtio 1.2, 2.7).
const SIZE: u16 = 1 << 15;
/// `VIRTIO_F_RING_INDIRECT_DESC`.
const INDIRECT_DESC: u64 = 1 << 28;
/// Descriptor flags.
const NEXT: u64 = 1;
const WRITE: u64 = 2;
const INDIRECT: u64 = 4;
/// What a ring takes, and where its parts are: descriptors, avail, used.
const RING: usize = 1 << 20;
const AVAIL: usize = 1 << 19;
const USED: usize = AVAIL + (1 << 17);
/// Descriptors of an indirect table.
const TABLE: usize = 1 << 15;
/// Where the two tables begin, and behind them the one frame.
const TABLES: usize = 2 * RING;
const FRAME: usize = TABLES + 2 * 16 * TABLE;
/// Shortest frame of Ethernet, without its FCS.
const LEN: usize = 60;

/// What it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Sends chains of buffers with nothing in them, as long as an indirect table can be.
    EmptyFrames,
    /// Offers the same to receive in.
    EmptyBuffers,
    /// Sends broadcasts, a ring full at a time.
    Storm,
    /// Sends one chain that is as long as its ring, and hangs up while the switch walks it.
    HangUp,
}

impl Deed {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::EmptyFrames, Self::EmptyBuffers, Self::Storm, Self::HangUp];
}

/// See the module.
#[derive(Debug)]
pub struct Hostile {
    memory: Memory,
    switch: FrontEnd,
    deed: Deed,
    avail: u16,
}

impl Hostile {
    /// Takes service at the switch that listens at `socket`, for one deed.
    ///
    /// # Errors
    /// If no switch listens there, or it refuses the guest.
    pub fn connect(socket: &Path, deed: Deed) -> Result<Self, TrafficError> {
        let open = || {
            let memory = Memory::of(FRAME + 4096)?;
            write_frame(&memory);
            [RX, TX].into_iter().for_each(|vring| write_table(&memory, vring));
            write_ring(&memory, deed);
            let switch = FrontEnd::connect(socket, &memory, INDIRECT_DESC, &[rings(RX), rings(TX)])?;
            Ok(Self { memory, switch, deed, avail: 0 })
        };
        open().map_err(|source: io::Error| TrafficError::Guest { dev: socket.display().to_string(), source })
    }

    /// Offers a ring full of work; whether the switch is still there.
    pub fn act(&mut self) -> bool {
        let vring = if self.deed == Deed::EmptyBuffers { RX } else { TX };
        let used: u16 = self.memory.get(vring * RING + USED + 2, Relaxed);
        // as much as the ring holds: more would be a jump of the index, and illegal
        self.avail = used.wrapping_add(SIZE);
        self.memory.put(vring * RING + AVAIL + 2, self.avail, Release);
        self.switch.kick(vring).is_ok() && self.deed != Deed::HangUp && self.switch.lives()
    }
}

fn rings(vring: usize) -> Rings {
    let at = |part: usize| BASE + (vring * RING + part) as u64;
    Rings { size: SIZE, desc: at(0), avail: at(AVAIL), used: at(USED) }
}

/// A broadcast behind its header.
fn write_frame(memory: &Memory) {
    let mut frame = [0; LEN];
    frame[..6].fill(0xff);
    frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0x66, 0x66]);
    // for experiments (IEEE 802)
    frame[12..14].copy_from_slice(&[0x88, 0xb5]);
    memory.write(FRAME + HEADER, &frame);
}

fn put(memory: &Memory, at: usize, descriptor: [u64; 2]) {
    memory.put(at, descriptor[0], Relaxed);
    memory.put(at + 8, descriptor[1], Relaxed);
}

/// An indirect table of empty buffers, each with a successor but the last.
fn write_table(memory: &Memory, vring: usize) {
    let (table, write) = (TABLES + vring * 16 * TABLE, if vring == RX { WRITE } else { 0 });
    for n in 0..TABLE {
        let more = if n + 1 < TABLE { NEXT | ((n + 1) as u64) << 16 } else { 0 };
        put(memory, table + 16 * n, [BASE + FRAME as u64, (write | more) << 32]);
    }
}

/// Every entry of the avail part is descriptor 0, which is what the deed wants; for [`Deed::HangUp`] the first of a chain of all.
fn write_ring(memory: &Memory, deed: Deed) {
    let table = |vring: usize| [BASE + (TABLES + vring * 16 * TABLE) as u64, (16 * TABLE) as u64 | INDIRECT << 32];
    let whole = [BASE + FRAME as u64, (HEADER + LEN) as u64];
    match deed {
        Deed::EmptyFrames => put(memory, TX * RING, table(TX)),
        Deed::EmptyBuffers => put(memory, 0, table(RX)),
        Deed::Storm => put(memory, TX * RING, whole),
        Deed::HangUp => (0..usize::from(SIZE)).for_each(|n| {
            let more = if n + 1 < usize::from(SIZE) { NEXT | ((n + 1) as u64) << 16 } else { 0 };
            put(memory, TX * RING + 16 * n, [whole[0], more << 32]);
        }),
    }
}
