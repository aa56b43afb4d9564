//! The vhost-user front end: tells the switch where memory and rings are, and which eventfds to signal.

use super::memory::{self, BASE, Memory, RX, SIZE, TX};
use nix::errno::Errno;
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::socket::{ControlMessage, MsgFlags, recv, sendmsg};
use std::io::{self, IoSlice, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
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
    pub const SET_VRING_KICK: u32 = 12;
    pub const SET_VRING_CALL: u32 = 13;
    pub const SET_VRING_ENABLE: u32 = 18;
}
use request::*;

/// `VIRTIO_F_VERSION_1`: without it the header has another length.
pub const VERSION_1: u64 = 1 << 32;
/// What is accepted besides, where it is offered: buffers that are merged, as every guest accepts them; rings that are enabled
/// by a message. No offload is, so that there is nothing in a header but the number of buffers.
const WELCOME: u64 = 1 << 15 | 1 << 30;
const PROTOCOL_VERSION: u32 = 1;
/// For an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a ring is, as the switch is told.
#[derive(Clone, Copy, Debug)]
pub struct Rings {
    /// Descriptors.
    pub size: u16,
    /// Address of its descriptors.
    pub desc: u64,
    /// Of its avail part.
    pub avail: u64,
    /// Of its used part.
    pub used: u64,
}

impl Rings {
    /// A ring of [`memory`]'s layout.
    pub fn of(vring: usize) -> Self {
        let place = |at: usize| BASE + at as u64;
        let [desc, used, avail] = [memory::desc(vring, 0), memory::used(vring), memory::avail(vring)].map(place);
        Self { size: SIZE, desc, avail, used }
    }
}

/// A connection to a switch, and the events of both rings.
#[derive(Debug)]
pub struct FrontEnd {
    stream: UnixStream,
    kicks: [EventFd; 2],
    /// Kept open: closing it would tell the switch that this side is gone.
    calls: [EventFd; 2],
}

impl FrontEnd {
    /// Connects and puts both rings in service, with those of the features in `more` that are offered. When it returns, the
    /// switch has taken everything.
    pub fn connect(socket: &Path, memory: &Memory, more: u64, rings: &[Rings; 2]) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut front = Self { stream, kicks: [event()?, event()?], calls: [event()?, event()?] };
        front.tell(SET_OWNER, &[], &[])?;
        let offered = front.ask(GET_FEATURES)?;
        if offered & VERSION_1 == 0 {
            return Err(io::Error::other("the switch does not offer VIRTIO_F_VERSION_1"));
        }
        front.tell(SET_FEATURES, &[offered & (VERSION_1 | WELCOME | more)], &[])?;
        let table = [1, BASE, memory.len() as u64, BASE, 0];
        front.tell(SET_MEM_TABLE, &table, &[memory.file().as_raw_fd()])?;
        [RX, TX].into_iter().try_for_each(|vring| front.start(vring, rings[vring]))?;
        // messages are taken in order
        front.ask(GET_FEATURES)?;
        // a ring begins with a kick
        [RX, TX].into_iter().try_for_each(|vring| front.kick(vring))?;
        Ok(front)
    }

    fn start(&mut self, vring: usize, ring: Rings) -> io::Result<()> {
        let number = vring as u64;
        let (kick, call) = (self.kicks[vring].as_raw_fd(), self.calls[vring].as_raw_fd());
        self.tell(SET_VRING_NUM, &[state(number, ring.size.into())], &[])?;
        self.tell(SET_VRING_BASE, &[state(number, 0)], &[])?;
        self.tell(SET_VRING_ADDR, &[number, ring.desc, ring.used, ring.avail, 0], &[])?;
        self.tell(SET_VRING_CALL, &[number], &[call])?;
        self.tell(SET_VRING_KICK, &[number], &[kick])?;
        self.tell(SET_VRING_ENABLE, &[state(number, 1)], &[])
    }

    fn tell(&mut self, request: u32, words: &[u64], fds: &[RawFd]) -> io::Result<()> {
        let body = words.iter().flat_map(|word| word.to_le_bytes());
        let size = u32::try_from(8 * words.len()).map_err(io::Error::other)?;
        let head = [request, PROTOCOL_VERSION, size].map(u32::to_le_bytes);
        let message: Vec<u8> = head.as_flattened().iter().copied().chain(body).collect();
        let rights = [ControlMessage::ScmRights(fds)];
        let control = if fds.is_empty() { &[][..] } else { &rights };
        let (bytes, flags) = ([IoSlice::new(&message)], MsgFlags::MSG_NOSIGNAL);
        let sent = sendmsg::<()>(self.stream.as_raw_fd(), &bytes, control, flags, None)?;
        if sent == message.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
    }

    /// The number in the answer to a request without one.
    fn ask(&mut self, request: u32) -> io::Result<u64> {
        self.tell(request, &[], &[])?;
        let (mut head, mut number) = ([0; 12], [0; 8]);
        self.stream.read_exact(&mut head)?;
        self.stream.read_exact(&mut number)?;
        Ok(u64::from_le_bytes(number))
    }

    /// Tells the switch that there is something on a ring.
    pub fn kick(&self, vring: usize) -> io::Result<()> {
        match self.kicks[vring].write(1) {
            // it has not taken notice of very many: it will
            Ok(_) | Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether the switch is still there.
    pub fn lives(&self) -> bool {
        !matches!(recv(self.stream.as_raw_fd(), &mut [0; 64], MsgFlags::MSG_DONTWAIT), Ok(0) | Err(Errno::ECONNRESET))
    }
}

fn event() -> io::Result<EventFd> {
    Ok(EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?)
}

/// `struct vhost_vring_state`.
fn state(vring: u64, number: u64) -> u64 {
    vring | number << 32
}
