//! Finding a front end: listening for one, or connecting to one.

use super::listener::Listener;
use crate::config::Role;
use crate::plan::{Offer, Rights};
use crate::socket::bind;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Pauses between attempts to connect: from the first, doubled, to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Where front ends come from.
#[derive(Debug)]
pub(super) enum FrontEnds {
    /// They connect.
    Listener(Listener),
    /// We connect; the pause before the next attempt.
    Caller(Duration),
}

impl FrontEnds {
    /// Takes the socket, if it is ours to make.
    pub(super) fn open(offer: &Offer) -> io::Result<Self> {
        match offer.role {
            Role::Server => {
                let taken = "somebody listens there already; stop it, or choose another `socket`";
                let socket = bind(&offer.socket, taken)?;
                let granted = grant(&offer.socket, offer.rights);
                granted.inspect_err(|_| drop(fs::remove_file(&offer.socket)))?;
                Listener::new(socket).map(Self::Listener)
            }
            Role::Client => Ok(Self::Caller(FIRST_PAUSE)),
        }
    }

    /// The next front end; `None` once `stop` is readable.
    pub(super) fn next(&mut self, offer: &Offer, stop: BorrowedFd<'_>) -> io::Result<Option<UnixStream>> {
        match self {
            Self::Listener(listener) => loop {
                // one may have spoken already
                if let Some(stream) = listener.take() {
                    return Ok(Some(stream));
                }
                let fds: Vec<_> = [stop].into_iter().chain(listener.fds()).collect();
                if wait(&fds, listener.pause())?[0] {
                    return Ok(None);
                }
                listener.hear(false);
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

    /// Adds what becomes readable when others knock while one is served; after the time returned they may too.
    pub(super) fn knocks<'a>(&'a self, fds: &mut Vec<BorrowedFd<'a>>) -> Option<Duration> {
        let Self::Listener(listener) = self else { return None };
        fds.extend(listener.fds());
        listener.pause()
    }

    /// Where they do.
    pub(super) fn listener(&mut self) -> Option<&mut Listener> {
        match self {
            Self::Listener(listener) => Some(listener),
            Self::Caller(_) => None,
        }
    }
}

/// Lets those connect who may. Without the right to give it away it is not.
fn grant(socket: &Path, rights: Rights) -> io::Result<()> {
    let named = |what: &str, error: io::Error| io::Error::new(error.kind(), format!("{what}: {error}"));
    if rights.owner.is_some() || rights.group.is_some() {
        chown(socket, rights.owner, rights.group)
            .map_err(|e| named("giving it to the port's `owner` and `group`", e))?;
    }
    let mode = Permissions::from_mode(rights.mode);
    fs::set_permissions(socket, mode).map_err(|e| named("setting the port's `mode`", e))
}

/// Waits until one of `fds` is readable or has ended, or for `time`; which ones.
pub(super) fn wait(fds: &[BorrowedFd<'_>], time: Option<Duration>) -> io::Result<Vec<bool>> {
    let timeout = time.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    match poll(&mut polled, timeout) {
        Ok(_) | Err(nix::errno::Errno::EINTR) => {}
        Err(errno) => return Err(errno.into()),
    }
    Ok(polled.iter().map(|fd| fd.any().unwrap_or(false)).collect())
}
