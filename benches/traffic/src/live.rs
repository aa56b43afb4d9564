//! A sender in the kernel: frames made by a BPF program (`BPF_PROG_TEST_RUN`, live frames; since Linux 5.18), which never become
//! socket buffers. Faster than a socket, but it cannot pace: for overload only.
//!
//! The interface must pass on XDP frames: on veth, the other end needs a native XDP program (AF_XDP ports have one).

use crate::check::Checker;
use crate::frame::{HEAD, PATTERN, Stamp, Stream};
use crate::programs::live::LiveSkelBuilder;
use crate::station::{Station, enter};
use crate::trial::QUIET;
use crate::{TrafficError, clock};
use libbpf_rs::ProgramInput;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use nix::net::if_::if_nametoindex;
use std::mem::MaybeUninit;
use std::thread;

/// Frames of the call from which the length of the next is taken; making its pages ready takes a call some 20 ms.
const FIRST: u32 = 100_000;
/// Frames of a call, at most.
const MOST: f64 = 20e6;
/// `BPF_F_TEST_XDP_LIVE_FRAMES`.
const LIVE_FRAMES: u32 = 1 << 1;
const SECOND: f64 = 1e9;

/// The outcome of a flood.
#[derive(Clone, Debug)]
pub struct Flood {
    /// Frames the program made.
    pub sent: u64,
    /// Nanoseconds it took.
    pub span: u64,
    /// What arrived.
    pub arrived: Checker,
    /// Frames the sink could not take in time.
    pub missed: u64,
}

impl Flood {
    /// Frames made per second.
    pub fn offered(&self) -> f64 {
        self.sent as f64 / self.span as f64 * SECOND
    }

    /// Frames per second that arrived, were they taken or missed by the sink.
    pub fn forwarded(&self) -> f64 {
        (self.arrived.received + self.missed) as f64 / self.span as f64 * SECOND
    }
}

/// Sends an untagged `stream` of one size out of `dev` of the named namespace for `time` nanoseconds, as fast as the kernel can,
/// on the caller's core. `sink` is not looked at meanwhile: its ring fills, and the kernel counts the rest.
///
/// # Errors
/// If namespace or interface are not there, the program is refused, or the sink dies.
pub fn flood(netns: &str, dev: &str, stream: &Stream, time: u64, sink: &mut Station) -> Result<Flood, TrafficError> {
    let run = || {
        let failed = |source| TrafficError::Namespace { netns: netns.to_owned(), dev: dev.to_owned(), source };
        enter(netns).map_err(failed)?;
        let index = if_nametoindex(dev).map_err(|source| TrafficError::Interface { dev: dev.to_owned(), source })?;
        flood_here(index, stream, time, sink)
    };
    let done = thread::scope(|scope| scope.spawn(run).join());
    done.map_err(|_| TrafficError::Panicked { dev: dev.to_owned() })?
}

fn flood_here(index: u32, stream: &Stream, time: u64, sink: &mut Station) -> Result<Flood, TrafficError> {
    let failed = |what: &'static str| move |source| TrafficError::Program { what, ifindex: index, source };
    let mut object = MaybeUninit::uninit();
    let mut open = LiveSkelBuilder::default().open(&mut object).map_err(failed("opening"))?;
    if let Some(data) = open.maps.rodata_data.as_deref_mut() {
        data.out = index;
    }
    let live = open.load().map_err(failed("loading"))?;
    let mut frame = PATTERN[..stream.len(0)].to_vec();
    let head = HEAD.min(frame.len());
    frame[..head].copy_from_slice(&stream.head(0, 0)[..head]);
    let call = |frames: u32, sink: &mut Station| {
        let before = sink.missed()?;
        let mut flood = Flood { sent: frames.into(), span: 0, arrived: Checker::new(0), missed: 0 };
        let input =
            ProgramInput { data_in: Some(&frame), repeat: frames, flags: LIVE_FRAMES, ..ProgramInput::default() };
        let start = clock::now();
        live.progs.live.test_run(input).map_err(failed("running"))?;
        flood.span = clock::now() - start;
        let mut last = clock::now();
        while clock::now() - last < QUIET {
            last = if take(sink, stream, &mut flood.arrived) > 0 { clock::now() } else { last };
        }
        flood.missed = sink.missed()? - before;
        Ok(flood)
    };
    let first = call(FIRST, sink)?;
    let frames = (first.offered() * time as f64 / SECOND).clamp(f64::from(FIRST), MOST);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped")]
    call(frames as u32, sink)
}

/// Everything that is there now.
fn take(sink: &mut Station, stream: &Stream, checker: &mut Checker) -> u32 {
    let mut all = 0;
    loop {
        let n = sink.receive(clock::now(), |arrival| {
            if let Some(stamp) = Stamp::read(arrival.first) {
                checker.take(stream, &stamp, arrival);
            }
        });
        all += n;
        if n == 0 {
            return all;
        }
    }
}
