//! A station: where frames of a trial are sent and received.
//!
//! Owned by the thread that runs a trial; a closed set of kinds, matched once per burst. No kind ever waits: what does not
//! go now is sent at a later turn.

mod xdp;

use crate::TrafficError;
use crate::check::Arrival;
use crate::frame::Stream;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io;
use std::ops::Range;
use xdp::Xdp;

/// What sends and receives raw frames.
#[derive(Debug)]
pub struct Station {
    kind: Kind,
    name: String,
}

#[derive(Debug)]
enum Kind {
    Xdp(Box<Xdp>),
}

/// Hands a call to whatever kind of station it is.
macro_rules! each {
    ($station:expr, $it:ident => $call:expr) => {
        match $station {
            Kind::Xdp($it) => $call,
        }
    };
}

impl Station {
    /// Interface `dev` of the named network namespace (`ip netns`), or of the caller's, by an AF_XDP socket in copy mode. It
    /// must be up and have one RX queue.
    ///
    /// # Errors
    /// If namespace or interface are not there, or program or socket are refused.
    pub fn interface(netns: Option<&str>, dev: &str) -> Result<Self, TrafficError> {
        Ok(Self { kind: Kind::Xdp(Box::new(Xdp::open(netns, dev)?)), name: dev.to_owned() })
    }

    /// The interface, or what it is connected to.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Takes frames of a stream for sending, as many as there is room for, and returns how many. `due` says when each was to
    /// be sent. They leave with the next [`kick`](Self::kick).
    pub fn send(&mut self, stream: &Stream, numbers: Range<u64>, due: impl Fn(u64) -> u64) -> u64 {
        each!(&mut self.kind, it => it.send(stream, numbers, due))
    }

    /// Takes a short frame for sending that is no frame of a stream (a runt, say), if there is room and it is no longer than
    /// [`HEAD`](crate::frame::HEAD).
    pub fn send_raw(&mut self, frame: &[u8]) -> bool {
        each!(&mut self.kind, it => it.send_raw(frame))
    }

    /// Sends what was taken for sending, as far as the other side lets it go.
    ///
    /// # Errors
    /// If the other side is down or gone, or refuses a frame.
    pub fn kick(&mut self) -> Result<(), TrafficError> {
        each!(&mut self.kind, it => it.kick())
    }

    /// Whether everything that was taken has left.
    pub fn is_done(&self) -> bool {
        each!(&self.kind, it => it.is_done())
    }

    /// Shows `take` the frames that arrived, at most some dozens, with the time `seen`; how many there were.
    pub fn receive(&mut self, seen: u64, take: impl FnMut(&Arrival<'_>)) -> u32 {
        each!(&mut self.kind, it => it.receive(seen, take))
    }

    /// What was dropped because this station was too slow, since it was opened.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn missed(&self) -> Result<u64, TrafficError> {
        each!(&self.kind, it => it.missed())
    }
}

/// Moves this thread into a named namespace.
pub(crate) fn enter(netns: &str) -> io::Result<()> {
    let file = File::open(format!("/run/netns/{netns}"))?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}
