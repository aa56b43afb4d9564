//! A front end of the tests' own, by hand: every message, every byte of guest memory can be wrong. The burst contract test
//! has its guest without the messages.
//!
//! Guest memory is a memfd, read and written as a file: what the switch has mapped changes under it all the same.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of the fixtures")]

use crate::common::wait_for;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::fs::File;
use std::io::{IoSlice, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Requests (vhost-user, "Front-end message types").
pub mod request {
    pub const GET_FEATURES: u32 = 1;
    pub const SET_FEATURES: u32 = 2;
    pub const SET_OWNER: u32 = 3;
    pub const SET_MEM_TABLE: u32 = 5;
    pub const SET_VRING_NUM: u32 = 8;
    pub const SET_VRING_ADDR: u32 = 9;
    pub const SET_VRING_BASE: u32 = 10;
    pub const GET_VRING_BASE: u32 = 11;
    pub const SET_VRING_KICK: u32 = 12;
    pub const SET_VRING_CALL: u32 = 13;
    pub const SET_VRING_ENABLE: u32 = 18;
    pub const SEND_RARP: u32 = 19;
}
use request::*;

/// Features: MRG_RXBUF, INDIRECT_DESC, PROTOCOL_FEATURES, VERSION_1.
const FEATURES: u64 = 1 << 15 | 1 << 28 | 1 << 30 | 1 << 32;
/// Bytes of guest memory, and where the guest and the front end see it.
pub const MEMORY: u64 = 1 << 20;
pub const GUEST: u64 = 0x4000_0000;
pub const USER: u64 = 0x7f00_0000_0000;
/// Descriptors per ring.
pub const SIZE: u16 = 16;

/// Where buffers begin, behind rings of [`SIZE`].
pub const BUFFERS: u64 = 0x1_0000;

/// How much memory a guest has, and where in it its rings are.
#[derive(Clone, Copy)]
pub struct Shape {
    pub memory: u64,
    pub size: u16,
    /// From one part of a ring (descriptors, avail, used) to the next.
    part: u64,
    /// Where buffers begin, of [`BUFFER`] bytes: as many to send from as there are descriptors, then as many to receive in.
    buffers: u64,
}

/// Bytes of a buffer: a frame of Ethernet fits.
const BUFFER: u64 = 0x800;

/// What most tests need.
pub const SMALL: Shape = Shape { memory: MEMORY, size: SIZE, part: 0x1000, buffers: BUFFERS };
/// Rings that hold some bursts.
pub const MIDDLE: Shape = Shape { size: 128, ..SMALL };
/// Rings as long as can be; behind them, at [`FAR_BUFFERS`], 5 MiB for what a test puts there.
pub const LARGE: Shape = Shape { memory: 8 << 20, size: 1 << 15, part: 0x8_0000, buffers: FAR_BUFFERS };
/// See [`LARGE`].
pub const FAR_BUFFERS: u64 = 0x30_0000;

/// Descriptor flags.
pub const NEXT: u16 = 1;
pub const WRITE: u16 = 2;
pub const INDIRECT: u16 = 4;

/// A front end with its guest.
pub struct FrontEnd {
    pub stream: UnixStream,
    pub memory: File,
    shape: Shape,
    kicks: Vec<EventFd>,
    calls: Vec<EventFd>,
    avail: [u16; 2],
}

impl FrontEnd {
    /// Connects, once somebody listens.
    pub fn connect(socket: &str) -> Self {
        Self::with(socket, SMALL)
    }

    fn with(socket: &str, shape: Shape) -> Self {
        Self::on(wait_for("a socket to connect to", || UnixStream::connect(socket).ok()), shape)
    }

    /// Over a connection.
    pub fn on(stream: UnixStream, shape: Shape) -> Self {
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        let memory = File::from(memfd_create(c"guest", MFdFlags::MFD_CLOEXEC).expect("a memfd"));
        memory.set_len(shape.memory).expect("memory");
        Self { stream, memory, shape, kicks: Vec::new(), calls: Vec::new(), avail: [0; 2] }
    }

    /// Connects and does everything right: one queue pair in service.
    pub fn ready(socket: &str) -> Self {
        Self::shaped(socket, SMALL)
    }

    /// The same with rings of this shape.
    pub fn shaped(socket: &str, shape: Shape) -> Self {
        let mut guest = Self::with(socket, shape);
        guest.negotiate();
        guest.share();
        guest.start(0);
        guest.start(1);
        guest
    }

    pub fn negotiate(&mut self) {
        self.tell(SET_OWNER, &[], &[]);
        assert_eq!(self.ask(GET_FEATURES, &[]) & FEATURES, FEATURES, "what is offered");
        self.tell(SET_FEATURES, &FEATURES.to_le_bytes(), &[]);
    }

    /// Whether something is answered; waits for it.
    pub fn answers(&mut self) -> bool {
        self.stream.read_exact(&mut [0; 20]).is_ok()
    }

    pub fn share(&mut self) {
        let fd = self.memory.as_raw_fd();
        self.tell(SET_MEM_TABLE, &table(&[[GUEST, self.shape.memory, USER, 0]]), &[fd]);
    }

    /// Where a part of a ring is: 0 descriptors, 1 avail, 2 used.
    pub fn part(&self, vring: u16, part: u64) -> u64 {
        (u64::from(vring) * 3 + part) * self.shape.part
    }

    pub fn start(&mut self, vring: u16) {
        self.tell(SET_VRING_NUM, &state(vring, self.shape.size.into()), &[]);
        self.tell(SET_VRING_BASE, &state(vring, 0), &[]);
        self.addresses(vring, [0, 2, 1].map(|part| USER + self.part(vring, part)));
        let flags = EfdFlags::EFD_NONBLOCK;
        let [kick, call] = [(), ()].map(|()| EventFd::from_value_and_flags(0, flags).expect("an eventfd"));
        self.tell(SET_VRING_CALL, &u64::from(vring).to_le_bytes(), &[call.as_raw_fd()]);
        self.tell(SET_VRING_KICK, &u64::from(vring).to_le_bytes(), &[kick.as_raw_fd()]);
        self.tell(SET_VRING_ENABLE, &state(vring, 1), &[]);
        self.kicks.push(kick);
        self.calls.push(call);
    }

    /// SET_VRING_ADDR with descriptor table, used ring, avail ring.
    pub fn addresses(&mut self, vring: u16, [desc, used, avail]: [u64; 3]) {
        let words = [u64::from(vring), desc, used, avail, 0].map(u64::to_le_bytes);
        self.tell(SET_VRING_ADDR, words.as_flattened(), &[]);
    }

    /// Sends a message. The switch may have hung up already: that is for the test to see.
    pub fn tell(&mut self, request: u32, body: &[u8], fds: &[RawFd]) {
        let size = u32::try_from(body.len()).expect("a short message");
        let head = [request, 1, size].map(u32::to_le_bytes);
        self.raw(&[head.as_flattened(), body].concat(), fds);
    }

    /// Sends bytes.
    pub fn raw(&mut self, bytes: &[u8], fds: &[RawFd]) {
        let rights = [ControlMessage::ScmRights(fds)];
        let control = if fds.is_empty() { &[][..] } else { &rights };
        let flags = MsgFlags::MSG_NOSIGNAL;
        let _hung_up = sendmsg::<()>(self.stream.as_raw_fd(), &[IoSlice::new(bytes)], control, flags, None);
    }

    /// Sends a message and returns the number in the answer.
    pub fn ask(&mut self, request: u32, body: &[u8]) -> u64 {
        self.tell(request, body, &[]);
        let mut answer = [0; 20];
        self.stream.read_exact(&mut answer).expect("an answer");
        u64::from_le_bytes(*answer.last_chunk().expect("a number"))
    }

    /// Whether the switch has hung up; waits for it.
    pub fn hung_up(&mut self) -> bool {
        let mut rest = Vec::new();
        // a reset is an end too
        self.stream.read_to_end(&mut rest).map_or_else(|e| e.kind() == std::io::ErrorKind::ConnectionReset, |_| true)
    }

    pub fn poke(&self, at: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, at).expect("guest memory");
    }

    fn peek16(&self, at: u64) -> u16 {
        let mut bytes = [0; 2];
        self.memory.read_exact_at(&mut bytes, at).expect("guest memory");
        u16::from_le_bytes(bytes)
    }

    /// Writes descriptor `i` of a ring.
    pub fn desc(&self, vring: u16, i: u16, (addr, len, flags, next): (u64, u32, u16, u16)) {
        self.desc_at(self.part(vring, 0) + 16 * u64::from(i), (addr, len, flags, next));
    }

    /// Writes a descriptor anywhere.
    pub fn desc_at(&self, at: u64, (addr, len, flags, next): (u64, u32, u16, u16)) {
        let words = [&addr.to_le_bytes()[..], &len.to_le_bytes(), &flags.to_le_bytes(), &next.to_le_bytes()];
        self.poke(at, &words.concat());
    }

    /// Makes the chain that begins at `head` available, and kicks.
    pub fn offer(&mut self, vring: u16, head: u16) {
        let at = self.avail[usize::from(vring)];
        self.poke(self.part(vring, 1) + 4 + 2 * u64::from(at % self.shape.size), &head.to_le_bytes());
        self.avail_idx(vring, at.wrapping_add(1));
    }

    /// Sets avail.idx, and kicks.
    pub fn avail_idx(&mut self, vring: u16, idx: u16) {
        self.avail[usize::from(vring)] = idx;
        self.poke(self.part(vring, 1) + 2, &idx.to_le_bytes());
        self.kicks[usize::from(vring)].write(1).expect("a kick");
    }

    /// Kicks without having offered anything.
    pub fn kick_only(&self, vring: u16) {
        self.kicks[usize::from(vring)].write(1).expect("a kick");
    }

    /// Fills the counter of a ring's calls, and makes whoever would write to it wait.
    pub fn deafen(&self, vring: u16) {
        let call = &self.calls[usize::from(vring)];
        // it has been called when its ring came up, or not yet
        let _before = call.read();
        let _full = call.write(u64::MAX - 1);
        fcntl(call, FcntlArg::F_SETFL(OFlag::empty())).expect("a descriptor that blocks");
    }

    /// SET_VRING_KICK without a descriptor: the ring is to be polled.
    pub fn poll_instead(&mut self, vring: u16) {
        self.tell(SET_VRING_KICK, &(0x100 | u64::from(vring)).to_le_bytes(), &[]);
    }

    /// used.idx of a ring.
    pub fn used(&self, vring: u16) -> u16 {
        self.peek16(self.part(vring, 2) + 2)
    }

    /// Sends a frame as a driver does: header and frame in one buffer.
    pub fn send(&mut self, header: &[u8; 12], frame: &[u8]) {
        let i = self.avail[1] % self.shape.size;
        let at = self.shape.buffers + BUFFER * u64::from(i);
        self.poke(at, &[&header[..], frame].concat());
        let len = u32::try_from(12 + frame.len()).expect("a frame");
        self.desc(1, i, (GUEST + at, len, 0, 0));
        self.offer(1, i);
    }

    /// Offers a buffer for a frame to come.
    pub fn want(&mut self) {
        let i = self.avail[0] % self.shape.size;
        let (at, len) = (self.room(i), u32::try_from(BUFFER).expect("a small buffer"));
        self.desc(0, i, (GUEST + at, len, WRITE, 0));
        self.offer(0, i);
    }

    /// Where the frame comes that descriptor `i` of the receive ring is offered for.
    fn room(&self, i: u16) -> u64 {
        self.shape.buffers + BUFFER * (u64::from(self.shape.size) + u64::from(i))
    }

    /// The frame in the buffer offered `n`th, once it has come.
    pub fn received(&self, n: u16) -> Vec<u8> {
        wait_for("a frame for the guest", || {
            (1..=self.shape.size).contains(&self.used(0).wrapping_sub(n)).then_some(())
        });
        let mut len = [0; 4];
        self.memory
            .read_exact_at(&mut len, self.part(0, 2) + 4 + 8 * u64::from(n % self.shape.size) + 4)
            .expect("guest memory");
        let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
        self.memory.read_exact_at(&mut bytes, self.room(n % self.shape.size)).expect("guest memory");
        bytes.split_off(12)
    }
}

/// `struct vhost_vring_state`.
pub fn state(vring: u16, num: u32) -> Vec<u8> {
    [u32::from(vring), num].map(u32::to_le_bytes).concat()
}

/// A memory table: guest address, size, user address, offset of each region.
pub fn table(regions: &[[u64; 4]]) -> Vec<u8> {
    let count = u64::try_from(regions.len()).expect("a table");
    let words = [&[count][..], regions.as_flattened()].concat();
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}
