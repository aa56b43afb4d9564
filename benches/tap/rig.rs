//! The namespace, its TAPs, the frames, and memory to hold them.

use dataplane::mem::{Arena, ArenaConfig, CHUNK_SIZE, Hugepages};
use dataplane::pmd::tap::{IdleLook, Tap, TapConfig, open};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{setsockopt, sockopt::UdpGsoSegment};
use std::cell::Cell;
use std::fmt;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::process::Command;

/// Bytes of the longest frame with its header, in whole chunks.
pub const SLOT: usize = 34 * CHUNK_SIZE;
/// Frames that fit the memory.
pub const SLOTS: usize = 64;
/// Bytes of the virtio_net_hdr.
pub const HEADER: usize = 12;

/// The frames of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Frame {
    Small,
    Full,
    Super,
}

impl Frame {
    pub const ALL: [Self; 3] = [Self::Small, Self::Full, Self::Super];

    /// Bytes, without the header.
    pub fn len(self) -> usize {
        match self {
            Self::Small => 60,
            Self::Full => 1514,
            Self::Super => 60_042,
        }
    }

    /// Frames per batch: what a TAP's queue of 500 holds, and for long ones what the caches do.
    pub fn batch(self) -> usize {
        if self == Self::Super { 32 } else { 256 }
    }

    /// Batches per round.
    pub fn batches(self) -> usize {
        if self == Self::Super { 20 } else { 40 }
    }
}

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Small | Self::Full => write!(f, "{} B", self.len()),
            Self::Super => f.write_str("60 KB super-frame"),
        }
    }
}

/// A namespace of our own.
pub struct World {
    made: Cell<u8>,
}

impl World {
    pub fn new() -> Self {
        unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace");
        // no discovery in the middle of a measurement
        for scope in ["all", "default"] {
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{scope}/disable_ipv6"), "1").expect("IPv6 off");
        }
        Self { made: Cell::new(0) }
    }

    /// A new TAP that is up, with a neighbour behind it.
    pub fn station(&self) -> Station {
        let n = self.made.get();
        self.made.set(n + 1);
        let ifname = format!("t{n}");
        let mut port = open(&TapConfig { ifname: ifname.clone(), queues: 1, idle: IdleLook::Read }).expect("a TAP");
        ip(&format!("link set {ifname} mtu 1500 up"));
        ip(&format!("addr add 10.0.{n}.1/24 dev {ifname}"));
        ip(&format!("neigh add 10.0.{n}.2 lladdr 02:00:00:00:00:02 dev {ifname}"));
        let feeder = UdpSocket::bind((format!("10.0.{n}.1").as_str(), 0)).expect("a socket");
        feeder.connect((format!("10.0.{n}.2").as_str(), 9)).expect("a route");
        Station { tap: port.queues.remove(0), feeder }
    }
}

fn ip(args: &str) {
    assert!(Command::new("ip").args(args.split(' ')).status().expect("iproute2").success(), "ip {args}");
}

/// One TAP and what feeds it.
pub struct Station {
    tap: Tap,
    feeder: UdpSocket,
}

impl Station {
    pub fn fd(&self) -> RawFd {
        self.tap.as_fd().as_raw_fd()
    }

    /// Puts one batch into the TAP's queue.
    pub fn feed(&self, frame: Frame) {
        let segment = if frame == Frame::Super { 1472 } else { 0 };
        setsockopt(&self.feeder, UdpGsoSegment, &segment).expect("UDP_SEGMENT");
        let payload = vec![7; frame.len() - 42];
        for _ in 0..frame.batch() {
            self.feeder.send(&payload).expect("sending to the TAP");
        }
    }
}

/// Memory of the kind that the switch uses.
pub struct Memory(Arena);

impl Memory {
    pub fn new() -> Self {
        let frames = u32::try_from(SLOTS * SLOT / CHUNK_SIZE).expect("a few thousand");
        Self(Arena::new(&ArenaConfig { frames, hugepages: Hugepages::Auto }).expect("an arena"))
    }

    /// Where slot `i` begins.
    pub fn slot(&self, i: usize) -> *mut u8 {
        assert!(i < SLOTS);
        self.0.base().as_ptr().wrapping_add(i * SLOT)
    }

    /// The whole of it.
    pub fn all(&self) -> libc::iovec {
        libc::iovec { iov_base: self.0.base().as_ptr().cast(), iov_len: SLOTS * SLOT }
    }

    /// The first `len` bytes of slot `i`, in pieces of a chunk, none beside the next.
    pub fn scattered(&self, i: usize, len: usize) -> Vec<libc::iovec> {
        let pieces = len.div_ceil(CHUNK_SIZE);
        let piece = |n: usize| libc::iovec {
            iov_base: self.slot(i).wrapping_add((pieces - 1 - n) * CHUNK_SIZE).cast(),
            iov_len: CHUNK_SIZE.min(len - n * CHUNK_SIZE),
        };
        (0..pieces).map(piece).collect()
    }

    /// Writes `bytes` to the start of slot `i`.
    pub fn fill(&self, i: usize, bytes: &[u8]) {
        assert!(bytes.len() <= SLOT);
        // SAFETY: a slot has SLOT bytes of the arena, and no other code uses them now.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.slot(i), bytes.len()) }
    }

    /// Writes `bytes` where [`scattered`](Self::scattered) reads them.
    pub fn fill_scattered(&self, i: usize, bytes: &[u8]) {
        for (piece, target) in bytes.chunks(CHUNK_SIZE).zip(self.scattered(i, bytes.len())) {
            // SAFETY: as in `fill`; a piece is no longer than its target.
            unsafe { std::ptr::copy_nonoverlapping(piece.as_ptr(), target.iov_base.cast(), piece.len()) }
        }
    }
}

/// A frame to an unused address, with the header in front: TCP to be segmented, if long.
pub fn frame_for_nobody(frame: Frame) -> Vec<u8> {
    let mut bytes = vec![0; HEADER + frame.len()];
    let (header, frame_bytes) = bytes.split_at_mut(HEADER);
    frame_bytes[..12].copy_from_slice(&[2, 9, 9, 9, 9, 9, 2, 0, 0, 0, 0, 2]);
    frame_bytes[12..16].copy_from_slice(&[8, 0, 0x45, 0]);
    let ip_len = u16::try_from(frame.len() - 14).expect("less than 64 KiB");
    frame_bytes[16..18].copy_from_slice(&ip_len.to_be_bytes());
    frame_bytes[22..24].copy_from_slice(&[64, 6]);
    frame_bytes[46] = 0x50;
    if frame == Frame::Super {
        // checksum at 34 + 16 undone, TCPv4 segments of 1448 behind 54 bytes of headers
        header.copy_from_slice(&[1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0]);
    }
    bytes
}
