//! A station: where frames of a trial are sent and received.
//!
//! Owned by the thread that runs a trial; a closed set of kinds, matched once per burst. No kind ever waits: what does not
//! go now is sent at a later turn.

mod guest;
mod limit;
mod tap;
#[cfg(test)]
mod tap_tests;
mod xdp;

pub use guest::{Deed, Hostile, Wire};

use crate::TrafficError;
use crate::check::Arrival;
use crate::frame::Stream;
use guest::Guest;
use limit::Limit;
use nix::sched::{CloneFlags, setns};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::thread;
use tap::Tap;
use xdp::Xdp;

/// Frames per second that a station with a line rate takes at least.
pub const SLOWEST: u64 = 1000;
/// Frames, or pieces of long ones, looked at in one turn.
const LOOK: u32 = 64;

/// What sends and receives raw frames.
#[derive(Debug)]
pub struct Station {
    kind: Kind,
    name: String,
    limit: Option<Limit>,
}

#[derive(Debug)]
enum Kind {
    Xdp(Box<Xdp>),
    Guest(Box<Guest>),
    Tap(Box<Tap>),
}

/// Hands a call to whatever kind of station it is.
macro_rules! each {
    ($station:expr, $it:ident => $call:expr) => {
        match $station {
            Kind::Xdp($it) => $call,
            Kind::Guest($it) => $call,
            Kind::Tap($it) => $call,
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
        Ok(Self::of(Kind::Xdp(Box::new(Xdp::open(netns, dev)?)), dev))
    }

    /// A new TAP `dev` in the named network namespace (`ip netns`), or in the caller's. The interface is for the switch to use;
    /// this station holds its other side, as a virtual machine does, and the interface goes with the station. It is left down.
    ///
    /// # Errors
    /// If the namespace is not there, the name is taken, or we may not make interfaces.
    pub fn tap(netns: Option<&str>, dev: &str) -> Result<Self, TrafficError> {
        Ok(Self::of(Kind::Tap(Box::new(Tap::open(netns, dev)?)), dev))
    }

    fn of(kind: Kind, name: &str) -> Self {
        Self { kind, name: name.to_owned(), limit: None }
    }

    /// Takes at most `rate` frames per second from now on: the line rate of the port in front of it, whose queue fills when
    /// more comes. `None`: as many as there are.
    ///
    /// # Panics
    /// If it is less than [`SLOWEST`]: a trial would take the station for one that has got everything.
    pub fn limit(&mut self, rate: Option<u64>) {
        assert!(rate.is_none_or(|rate| rate >= SLOWEST), "a line rate is {SLOWEST} frames per second or more");
        self.limit = rate.map(Limit::new);
    }

    /// A guest of the switch that listens at a vhost-user socket: the driver of a virtio network device with one queue pair of
    /// 1024 descriptors and no offloads, in memory of its own that the switch maps.
    ///
    /// Its frames are not stamped on arrival: latency counts until [`receive`](Self::receive) saw them.
    ///
    /// # Errors
    /// If no switch listens there, or it refuses the guest.
    pub fn guest(socket: &Path) -> Result<Self, TrafficError> {
        Ok(Self::of(Kind::Guest(Box::new(Guest::connect(socket)?)), &socket.display().to_string()))
    }

    /// Two guests without a switch, and what is between them: [`Wire::carry`] must be called again and again, by a thread of its
    /// own if it is not to cost the tester's time.
    ///
    /// # Errors
    /// If there is no memory for them.
    pub fn wired() -> Result<([Self; 2], Wire), TrafficError> {
        let (guests, wire) = Guest::wired()?;
        Ok((guests.map(|guest| Self::of(Kind::Guest(Box::new(guest)), "wire")), wire))
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
        let most = self.limit.as_mut().map_or(LOOK, |limit| limit.allows(seen).min(LOOK));
        let taken = each!(&mut self.kind, it => it.receive(most, seen, take));
        if let Some(limit) = &mut self.limit {
            limit.took(taken, taken < most);
        }
        taken
    }

    /// What was dropped because this station was too slow, since it was opened. Not what does not fit the queue of a TAP, which
    /// its interface counts, nor what a switch has no buffer of a guest for, which it says itself.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn missed(&self) -> Result<u64, TrafficError> {
        match &self.kind {
            Kind::Xdp(xdp) => xdp.missed(),
            Kind::Guest(_) | Kind::Tap(_) => Ok(0),
        }
    }
}

/// Opens something by a thread of its own in the namespace.
fn within<T: Send>(
    netns: Option<&str>,
    dev: &str,
    open: impl FnOnce() -> Result<T, TrafficError> + Send,
) -> Result<T, TrafficError> {
    let failed = |netns: &str, source| TrafficError::Namespace { netns: netns.to_owned(), dev: dev.to_owned(), source };
    let run = || {
        netns.map_or(Ok(()), |netns| enter(netns).map_err(|source| failed(netns, source)))?;
        open()
    };
    let opened = thread::scope(|scope| scope.spawn(run).join());
    opened.map_err(|_| TrafficError::Panicked { dev: dev.to_owned() })?
}

/// Moves this thread into a named namespace.
pub(crate) fn enter(netns: &str) -> io::Result<()> {
    let file = File::open(format!("/run/netns/{netns}"))?;
    setns(file, CloneFlags::CLONE_NEWNET).map_err(io::Error::from)
}
