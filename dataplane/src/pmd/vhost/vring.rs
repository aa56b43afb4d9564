//! One ring with what it takes to serve it: event descriptors, features, scratch room.

use super::call::Call;
use super::dirty::Log;
use super::ring::packed::Packed;
use super::ring::split::Split;
use super::ring::{Chain, Ring, RingError, RingFault, RingSpec};
use crate::offload::Features;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// What both sides agreed on for the frames of a ring.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingFeatures {
    /// Bytes of the header in front of each frame: 10, or 12 with MRG_RXBUF or VERSION_1.
    pub header: usize,
    /// VIRTIO_NET_F_MRG_RXBUF: a frame may be spread over several chains.
    pub mergeable: bool,
    /// What the guest finishes itself.
    pub offload: Features,
}

/// The ring in its format.
#[derive(Debug)]
pub(super) enum Format {
    Split(Split),
    Packed(Packed),
}

/// Calls `$body` with `$ring` as the ring in its format.
macro_rules! with_ring {
    ($format:expr, $ring:ident => $body:expr) => {
        match $format {
            crate::pmd::vhost::vring::Format::Split($ring) => $body,
            crate::pmd::vhost::vring::Format::Packed($ring) => $body,
        }
    };
}
pub(super) use with_ring;

/// A ring in service.
#[derive(Debug)]
pub struct Vring {
    // hot
    pub(super) format: Format,
    pub(super) chain: Chain,
    pub(super) features: RingFeatures,
    pub(super) enabled: bool,
    /// Something was published that the driver was not told of.
    pub(super) notify_pending: bool,
    // cold
    call: Option<Call>,
    /// The next call is made whether or not the driver wants it: what it was told before we came is not known.
    force_notify: bool,
    kick: Option<Kick>,
    pub(super) log: Option<Box<Log>>,
}

impl Vring {
    /// A ring to be served, checked whole.
    ///
    /// # Errors
    /// [`RingError`].
    pub fn new(spec: &RingSpec, features: RingFeatures, enabled: bool) -> Result<Self, RingError> {
        let format = if spec.packed { Format::Packed(Packed::new(spec)?) } else { Format::Split(Split::new(spec)?) };
        // A predecessor may have died between publishing and calling.
        let (chain, notify_pending, force_notify) = (Chain::new(), true, true);
        Ok(Self { format, chain, features, enabled, notify_pending, call: None, force_notify, kick: None, log: None })
    }

    /// Whom to call; without, the driver polls.
    #[must_use]
    pub fn with_call(mut self, call: Option<Call>) -> Self {
        self.call = call;
        self
    }

    /// Where kicks come in; without, this ring must be polled all the time.
    #[must_use]
    pub fn with_kick(mut self, kick: Option<Kick>) -> Self {
        self.kick = kick;
        self
    }

    /// Where what is written is logged; without, it is not.
    #[must_use]
    pub fn with_log(mut self, log: Option<Box<Log>>) -> Self {
        self.log = log;
        self
    }

    pub(super) fn set_call(&mut self, call: Option<Call>) {
        self.call = call;
        // What the old one was not told, the new one is.
        (self.notify_pending, self.force_notify) = (true, true);
    }

    /// At most one call for everything published since the last; whether there was one.
    #[inline]
    pub(super) fn notify(&mut self) -> bool {
        if !std::mem::take(&mut self.notify_pending) {
            return false;
        }
        let wanted = with_ring!(&mut self.format, ring => ring.wants_call());
        (std::mem::take(&mut self.force_notify) | wanted) && self.call.as_mut().is_some_and(Call::signal)
    }

    /// Before sleeping: true if a kick will end the sleep and nothing waits.
    pub(super) fn prepare_sleep(&mut self) -> bool {
        let may = self.kick.is_some() && with_ring!(&mut self.format, ring => ring.arm());
        self.log_ring();
        may
    }

    /// After sleeping; how many kicks there were.
    pub(super) fn finish_sleep(&mut self) -> u64 {
        with_ring!(&mut self.format, ring => ring.disarm());
        self.log_ring();
        self.kick.as_ref().map_or(0, Kick::clear)
    }

    /// The ring itself was written to.
    fn log_ring(&self) {
        if let Some(log) = &self.log {
            log.mark_ring();
        }
    }

    pub(super) fn wait_fd(&self) -> Option<BorrowedFd<'_>> {
        self.kick.as_ref().map(|kick| kick.epoll.0.as_fd())
    }

    pub(super) fn base(&self) -> u32 {
        with_ring!(&self.format, ring => ring.base())
    }

    /// Leaves the ring to a front end that knows its position.
    pub(super) fn finish(mut self) -> u32 {
        with_ring!(&mut self.format, ring => ring.forget());
        self.log_ring();
        self.base()
    }

    pub(super) fn pending(&self) -> u16 {
        with_ring!(&self.format, ring => ring.pending())
    }

    /// Whether guest memory is still what it was.
    #[inline]
    pub(super) fn check(&self) -> Result<(), RingFault> {
        let logs = self.log.as_ref().is_some_and(|log| log.is_torn());
        let torn = logs || with_ring!(&self.format, ring => ring.memory().is_torn());
        if torn { Err(RingFault::Torn) } else { Ok(()) }
    }
}

/// The kicks of one ring, never read: the file descriptor is the front end's, and reading it might block. An
/// edge-triggered epoll turns each kick into one event, however full the counter is.
#[derive(Debug)]
pub struct Kick {
    epoll: Epoll,
    _eventfd: OwnedFd,
}

impl Kick {
    /// Listens to an eventfd.
    ///
    /// # Errors
    /// When it is nothing that can be waited for, or the process is out of file descriptors.
    pub fn new(eventfd: OwnedFd) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&eventfd, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, 0))?;
        Ok(Self { epoll, _eventfd: eventfd })
    }

    /// Takes the event that a kick left.
    fn clear(&self) -> u64 {
        let mut event = [EpollEvent::empty()];
        u64::from(self.epoll.wait(&mut event, EpollTimeout::ZERO).is_ok_and(|n| n > 0))
    }
}
