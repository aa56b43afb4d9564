//! The far side of a TAP: frames that the switch sends to the interface are read from a file descriptor, frames written to it
//! arrive at the interface. Each frame is one system call on our thread, which does the work of the interface's driver too.

use super::within;
use crate::TrafficError;
use crate::area::CHUNK;
use crate::check::{Arrival, is_pattern};
use crate::frame::{HEAD, LONGEST, PATTERN, Stream};
use crate::tun::make_tap;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{read, write};
use std::collections::VecDeque;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};

/// Frames that wait for their system call.
const WAITING: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
    /// First bytes and length of frames to be sent; what follows is the pattern.
    waiting: VecDeque<([u8; HEAD], usize)>,
    /// The frame being sent, with the pattern in it.
    out: Vec<u8>,
    /// The frame that came last.
    come: Vec<u8>,
    /// What ended a read.
    failed: Option<Errno>,
    dev: String,
}

impl Tap {
    /// As [`Station::tap`](super::Station::tap).
    pub(super) fn open(netns: Option<&str>, dev: &str) -> Result<Self, TrafficError> {
        let fd = within(netns, dev, || open_here(dev))?;
        let out = PATTERN[..CHUNK].iter().copied().cycle().take(LONGEST.into()).collect();
        // a byte more than the longest: what is too long is not taken for it
        let come = vec![0; usize::from(LONGEST) + 1];
        Ok(Self { fd, waiting: VecDeque::with_capacity(WAITING), out, come, failed: None, dev: dev.to_owned() })
    }

    pub(super) fn send(&mut self, stream: &Stream, numbers: Range<u64>, due: impl Fn(u64) -> u64) -> u64 {
        let room = (WAITING - self.waiting.len()) as u64;
        let taken = room.min(numbers.end - numbers.start);
        let frame = |number| (stream.head(number, due(number)), stream.len(number));
        self.waiting.extend((numbers.start..numbers.start + taken).map(frame));
        taken
    }

    pub(super) fn send_raw(&mut self, frame: &[u8]) -> bool {
        if frame.len() > HEAD || self.waiting.len() == WAITING {
            return false;
        }
        let mut head = [0; HEAD];
        head[..frame.len()].copy_from_slice(frame);
        self.waiting.push_back((head, frame.len()));
        true
    }

    pub(super) fn kick(&mut self) -> Result<(), TrafficError> {
        let dead = |errno: Errno| TrafficError::Dead { dev: self.dev.clone(), what: errno.to_string() };
        self.failed.map_or(Ok(()), |errno| Err(dead(errno)))?;
        while let Some((head, len)) = self.waiting.front() {
            self.out[..HEAD].copy_from_slice(head);
            match write(&self.fd, &self.out[..*len]) {
                Ok(_) => self.waiting.pop_front(),
                Err(Errno::EAGAIN | Errno::EINTR) => return Ok(()),
                Err(errno) => return Err(dead(errno)),
            };
        }
        Ok(())
    }

    pub(super) fn is_done(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn receive(&mut self, most: u32, seen: u64, mut take: impl FnMut(&Arrival<'_>)) -> u32 {
        for frames in 0..most {
            match read(&self.fd, &mut self.come) {
                Ok(len) => take(&arrival(&self.come[..len], seen)),
                Err(errno) => {
                    // receiving cannot report it; the next kick does
                    self.failed = Some(errno).filter(|errno| !matches!(errno, Errno::EAGAIN | Errno::EINTR));
                    return frames;
                }
            }
        }
        most
    }
}

fn open_here(dev: &str) -> Result<OwnedFd, TrafficError> {
    let failed = |what| move |source| TrafficError::Tap { dev: dev.to_owned(), what, source };
    let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fd = open("/dev/net/tun", flags, Mode::empty()).map_err(failed("opening /dev/net/tun"))?;
    make_tap(fd.as_fd(), dev).map_err(failed("TUNSETIFF"))?;
    Ok(fd)
}

/// A frame in pieces of a chunk, as it would lie in one.
fn arrival(frame: &[u8], seen: u64) -> Arrival<'_> {
    let mut pieces = frame.chunks(CHUNK);
    let first = pieces.next().unwrap_or_default();
    Arrival { first, len: frame.len(), rest_is_whole: pieces.all(|piece| is_pattern(piece, 0)), seen }
}
