//! Finding a front end: listening for one, or connecting to one.

use crate::config::Role;
use crate::plan::Offer;
use crate::socket::bind;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

/// Pauses between attempts to connect: from the first, doubled, to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Where front ends come from.
#[derive(Debug)]
pub(super) enum FrontEnds {
    /// They connect.
    Listener(UnixListener),
    /// We connect; the pause before the next attempt.
    Caller(Duration),
}

impl FrontEnds {
    /// Takes the socket, if it is ours to make.
    pub(super) fn open(offer: &Offer) -> io::Result<Self> {
        match offer.role {
            Role::Server => {
                let listener =
                    bind(&offer.socket, "somebody listens there already; stop it, or choose another `socket`")?;
                listener.set_nonblocking(true)?;
                Ok(Self::Listener(listener))
            }
            Role::Client => Ok(Self::Caller(FIRST_PAUSE)),
        }
    }

    /// The next front end; `None` once `stop` is readable.
    pub(super) fn next(&mut self, offer: &Offer, stop: BorrowedFd<'_>) -> io::Result<Option<UnixStream>> {
        match self {
            Self::Listener(listener) => loop {
                if wait(&[stop, listener.as_fd()], None)?[0] {
                    return Ok(None);
                }
                if let Some(stream) = accept(listener)? {
                    return Ok(Some(stream));
                }
            },
            Self::Caller(pause) => loop {
                if wait(&[stop], Some(*pause))?[0] {
                    return Ok(None);
                }
                if let Ok(stream) = UnixStream::connect(&offer.socket) {
                    *pause = FIRST_PAUSE;
                    return Ok(Some(stream));
                }
                *pause = (*pause * 2).min(LAST_PAUSE);
            },
        }
    }

    /// Where a second front end would knock.
    pub(super) fn listener(&self) -> Option<&UnixListener> {
        match self {
            Self::Listener(listener) => Some(listener),
            Self::Caller(_) => None,
        }
    }
}

/// One that knocked, if it is still there.
pub(super) fn accept(listener: &UnixListener) -> io::Result<Option<UnixStream>> {
    match listener.accept() {
        Ok((stream, _)) => Ok(Some(stream)),
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionAborted) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Waits until one of `fds` is readable or has ended, or for `time`; which ones.
pub(super) fn wait<const N: usize>(fds: &[BorrowedFd<'_>; N], time: Option<Duration>) -> io::Result<[bool; N]> {
    let timeout = time.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
    let mut polled = fds.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    match poll(&mut polled, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(polled.map(|fd| fd.any().unwrap_or(false)))
}
