//! Raw frames for measuring switches: open-loop senders, sinks that check everything, trials, searches.
//!
//! A [`Station`] sends and receives frames, by itself or through a switch: a network interface by an AF_XDP socket, the far
//! side of a TAP, or a switch's guest by a vhost-user socket. A trial ([`Trial`]) moves frames between stations: each [`Flow`] is
//! a [`Stream`] of frames, known byte by byte from their numbers, and a [`Schedule`], which fixes the moment of every frame before
//! the first is sent. One thread, the caller's, serves all stations of a trial in turn.
//!
//! What keeps the figures honest:
//! - the schedule does not wait for the switch, and latency counts from the scheduled moment (no coordinated omission);
//! - every frame that arrives is compared with what was sent, byte by byte; loss, duplicates and order are exact;
//! - what the sender could not send and what the sink could not take are counted apart from what the switch lost;
//! - a lossy trial of a search is repeated before it is believed ([`search`]).
//!
//! Modules: [`clock`], [`frame`] and [`schedule`] (what is sent when), [`check`] (what arrived), [`area`] (memory) and `tun` (an
//! ioctl), which hold all unsafe code, `programs` (BPF) and `program` (XDP), [`station`], [`trial`], [`search`];
//! [`live`]: a sender in the kernel, for overload; [`syscalls`]: counts the system calls of a process.
#![deny(unsafe_code)]

pub mod area;
pub mod check;
pub mod clock;
pub mod frame;
pub mod live;
mod program;
mod programs;
pub mod schedule;
pub mod search;
pub mod station;
pub mod syscalls;
pub mod trial;
mod tun;

pub use check::Checker;
pub use frame::{Mac, Macs, Sizes, Stream};
pub use schedule::{Phase, Schedule};
pub use station::{Deed, Hostile, Station, Wire};
pub use syscalls::Syscalls;
pub use trial::{Flow, Outcome, Trial};

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum TrafficError {
    /// The namespace of a station.
    #[error("namespace {netns} of station {dev}: {source}; is it there (ip netns), and are we root?")]
    Namespace {
        /// Its name.
        netns: String,
        /// The station's interface.
        dev: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// There is no such interface.
    #[error("station {dev}: {source}; is the interface there and up?")]
    Interface {
        /// Its name.
        dev: String,
        /// The system's answer.
        source: nix::Error,
    },
    /// The XDP program.
    #[error("{what} the XDP program of interface {ifindex}: {source}; it needs root and an interface without one")]
    Program {
        /// What was being done.
        what: &'static str,
        /// The interface.
        ifindex: u32,
        /// The kernel's answer.
        source: libbpf_rs::Error,
    },
    /// The program that counts system calls.
    #[error(
        "counting the system calls of process {pid}: {source}; it needs root and a kernel with CONFIG_FTRACE_SYSCALLS"
    )]
    Counting {
        /// The process.
        pid: u32,
        /// The kernel's answer.
        source: libbpf_rs::Error,
    },
    /// The AF_XDP socket.
    #[error(transparent)]
    Socket(#[from] af_xdp::OpenError),
    /// A TAP.
    #[error("TAP {dev}: {what}: {source}; making one needs root, the driver `tun`, and a name nobody has")]
    Tap {
        /// Its name.
        dev: String,
        /// What was being done.
        what: &'static str,
        /// The system's answer.
        source: nix::Error,
    },
    /// The vhost-user socket of a station.
    #[error("station {dev}: {source}; does a switch listen at that vhost-user socket?")]
    Guest {
        /// The socket.
        dev: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// A station does not send any more.
    #[error(
        "station {dev} sends no more ({what}): its interface or its switch went down or away, or the kernel refused a frame"
    )]
    Dead {
        /// The station's interface or socket.
        dev: String,
        /// What the kernel said, or the switch did.
        what: String,
    },
    /// The kernel did not say what a socket dropped.
    #[error("station {dev}: no statistics: {source}")]
    Statistics {
        /// The station's interface.
        dev: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The thread that opened a station ended in a panic.
    #[error("the thread that opened station {dev} panicked")]
    Panicked {
        /// The station's interface.
        dev: String,
    },
}
