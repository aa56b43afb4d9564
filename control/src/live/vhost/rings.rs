//! What the front end has said of one ring so far, until it is enough to start it.

use super::features::{EVENT_IDX, INDIRECT_DESC, RING_PACKED, ring_features};
use dataplane::pmd::vhost::{Call, DirtyLog, GuestMemory, Kick, Log, RingSpec, Vring};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

/// Bytes of what a device writes (virtio 1.2 §2.7.8, §2.8.13, §2.8.14): the used ring but for its elements, an element, a
/// packed descriptor, the device event suppression.
const USED_HEAD: u64 = 6;
const USED_ELEMENT: u64 = 8;
const DESCRIPTOR: u64 = 16;
const EVENT_AREA: u64 = 4;

/// Addresses of a ring in the front end's process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) desc: u64,
    pub(super) avail: u64,
    pub(super) used: u64,
    /// Where the guest has the used area, if writes to the ring are to be logged (VHOST_VRING_F_LOG).
    pub(super) log: Option<u64>,
}

impl Addresses {
    /// Whether the ring lies at the same place.
    pub(super) fn is_at(&self, other: &Self) -> bool {
        (self.desc, self.avail, self.used) == (other.desc, other.avail, other.used)
    }
}

/// An event descriptor as it was given: one, or "poll instead" (bit 8 of the message).
#[derive(Debug)]
pub(super) struct Event(pub(super) Option<OwnedFd>);

impl Event {
    /// Takes nothing but an eventfd, made non-blocking. The front end shares that flag: what a worker does with the
    /// descriptor does not depend on it.
    pub(super) fn new(file: Option<File>) -> io::Result<Self> {
        let Some(file) = file else { return Ok(Self(None)) };
        let target = fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        if target.as_os_str() != "anon_inode:[eventfd]" {
            let what = format!("a file descriptor for kicks or calls that is no eventfd: {}", target.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        fcntl(file.as_fd(), FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        Ok(Self(Some(file.into())))
    }

    /// Another descriptor of it, for the worker: the ring may have to be started again.
    pub(super) fn share(&self) -> io::Result<Option<OwnedFd>> {
        self.0.as_ref().map(OwnedFd::try_clone).transpose()
    }
}

/// One ring.
#[derive(Debug, Default)]
pub(super) struct RingState {
    pub(super) num: u16,
    pub(super) addresses: Option<Addresses>,
    pub(super) base: u32,
    /// The kick descriptor, which also says "start"; gone after GET_VRING_BASE.
    pub(super) kick: Option<Event>,
    pub(super) call: Option<Event>,
    pub(super) enabled: bool,
    /// A worker has it.
    pub(super) running: bool,
}

impl RingState {
    /// How its writes are logged.
    pub(super) fn log(&self, memory: &GuestMemory, acked: u64, dirty: &Arc<DirtyLog>) -> Box<Log> {
        let Some((at, log)) = self.addresses.and_then(|at| Some((at, at.log?))) else {
            return Box::new(Log::new(dirty, Vec::new()));
        };
        let size = u64::from(self.num);
        let ring = if acked & RING_PACKED != 0 {
            // the device event area, and the descriptors, of which the message has no address of the guest's
            let desc = memory.guest_address(at.desc).map(|desc| (desc, DESCRIPTOR * size));
            [(log, EVENT_AREA)].into_iter().chain(desc).collect()
        } else {
            vec![(log, USED_HEAD + USED_ELEMENT * size)]
        };
        Box::new(Log::new(dirty, ring))
    }

    /// The ring, if everything was said that it takes.
    pub(super) fn vring(&self, memory: &Arc<GuestMemory>, acked: u64) -> io::Result<Option<Vring>> {
        let (Some(at), Some(kick)) = (self.addresses, &self.kick) else { return Ok(None) };
        let spec = RingSpec {
            memory: Arc::clone(memory),
            size: self.num,
            desc: at.desc,
            avail: at.avail,
            used: at.used,
            base: self.base,
            packed: acked & RING_PACKED != 0,
            event_idx: acked & EVENT_IDX != 0,
            indirect: acked & INDIRECT_DESC != 0,
        };
        let vring = Vring::new(&spec, ring_features(acked), self.enabled).map_err(invalid)?;
        let call = self.call.as_ref().map(Event::share).transpose()?.flatten().map(Call::new).transpose()?;
        let kick = kick.share()?.map(Kick::new).transpose()?;
        Ok(Some(vring.with_call(call).with_kick(kick)))
    }
}

/// Something that the front end should not have said.
pub(super) fn invalid(what: impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what.to_string())
}
