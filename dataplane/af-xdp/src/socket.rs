//! A bound socket and its rings.

use crate::ring::{Completion, Fill, Rx, Tx};
use crate::stats::Statistics;
use crate::syscall;
use std::ffi::c_int;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// A socket and its four rings, owned by one thread.
///
/// Dropping it unmaps the rings and then closes the socket, in that order (of the fields): a mapping holds the socket's
/// file, and with it the netdev queue. Frames that are in the fill, TX or RX ring, or in the kernel's hands, do not come
/// back: their owner reclaims them after the drop.
#[derive(Debug)]
pub struct Queue {
    /// Received frames.
    pub rx: Rx,
    /// Frames to transmit.
    pub tx: Tx,
    /// Empty frames to receive into.
    pub fill: Fill,
    /// Transmitted frames.
    pub completion: Completion,
    /// Wake-ups, options, statistics.
    pub socket: Socket,
}

/// What became of a kick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wakeup {
    /// The kernel did what it could.
    Done,
    /// Not all of it, now (`EAGAIN`, `EBUSY`, `ENOBUFS`, `ENOMEM`, `EINTR`), which passes: kick again at the next turn, if
    /// there is a backlog.
    Again,
    /// The interface is down (`ENETDOWN`): nothing moves until it is up.
    Down,
    /// The interface is gone (`ENXIO`, `ENODEV`) or the socket is no socket (`EBADF`): this queue never works again.
    Gone,
    /// Any other errno. The kernel refused the frame at the head of the TX ring, which stays there: `EINVAL` for a
    /// request below it that makes no sense.
    Refused(i32),
}

impl Wakeup {
    fn from_errno(errno: c_int) -> Self {
        match errno {
            0 => Wakeup::Done,
            libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::ENOMEM | libc::EINTR => Wakeup::Again,
            libc::ENETDOWN => Wakeup::Down,
            libc::ENXIO | libc::ENODEV | libc::EBADF => Wakeup::Gone,
            other => Wakeup::Refused(other),
        }
    }
}

/// The socket of a [`Queue`].
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    report: Vec<String>,
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd, report: Vec<String>) -> Self {
        Socket { fd, report }
    }

    pub(crate) fn extend_report(&mut self, line: impl IntoIterator<Item = String>) {
        self.report.extend(line);
    }

    /// Kicks transmission: one `sendto`, never waiting.
    #[inline]
    pub fn wakeup_tx(&self) -> Wakeup {
        Wakeup::from_errno(syscall::kick_tx(self.fd.as_fd()))
    }

    /// Kicks reception: one `recvfrom`, never waiting. For zero-copy drivers whose fill ring needs a wakeup, and for busy
    /// polling.
    #[inline]
    pub fn wakeup_rx(&self) -> Wakeup {
        Wakeup::from_errno(syscall::kick_rx(self.fd.as_fd()))
    }

    /// What the kernel dropped so far.
    ///
    /// # Errors
    /// If the kernel refuses, which it does not for a live AF_XDP socket.
    pub fn statistics(&self) -> io::Result<Statistics> {
        syscall::statistics(self.fd.as_fd()).map(Statistics::from)
    }

    /// Is it zero-copy?
    ///
    /// # Errors
    /// If the kernel refuses, which it does not for a live AF_XDP socket.
    pub fn zero_copy(&self) -> io::Result<bool> {
        Ok(syscall::options(self.fd.as_fd())? & libc::XDP_OPTIONS_ZEROCOPY != 0)
    }

    /// The NAPI instance behind the queue; 0 if busy polling is not possible.
    ///
    /// # Errors
    /// If the kernel refuses, which it does not for a live socket.
    pub fn napi_id(&self) -> io::Result<u32> {
        syscall::napi_id(self.fd.as_fd())
    }

    /// Options that were requested and not granted (zero-copy, the TX budget), with the reason. Empty if all were granted.
    pub fn report(&self) -> &[String] {
        &self.report
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn errnos_fall_into_the_cases_a_worker_acts_on() {
        assert_eq!(Wakeup::from_errno(0), Wakeup::Done);
        for shortage in [libc::EAGAIN, libc::EBUSY, libc::ENOBUFS, libc::ENOMEM] {
            assert_eq!(Wakeup::from_errno(shortage), Wakeup::Again);
        }
        assert_eq!(Wakeup::from_errno(libc::ENETDOWN), Wakeup::Down);
        assert_eq!(Wakeup::from_errno(libc::ENXIO), Wakeup::Gone);
        assert_eq!(Wakeup::from_errno(libc::EOVERFLOW), Wakeup::Refused(libc::EOVERFLOW));
    }

    #[test]
    fn a_queue_may_move_to_its_worker() {
        fn is_send<T: Send>() {}
        is_send::<Queue>();
    }
}
