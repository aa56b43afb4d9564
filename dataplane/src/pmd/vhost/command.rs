//! What a session tells a queue pair, and what comes back. Carried to the worker like every command: between two
//! bursts, in order, with a reply when it was applied. So after a reply the worker does not touch what was taken back.

use super::call::Call;
use super::dirty::Log;
use super::vring::Vring;
use crate::mem::Mbuf;
use crossbeam::channel::Sender;

/// Which of the two rings of a pair, as the guest names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// The guest's receive queue: frames to it.
    ToGuest,
    /// The guest's transmit queue: frames from it.
    FromGuest,
}

impl Direction {
    /// As an index: 0 to the guest, 1 from it, like the vring index modulo 2.
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::ToGuest => 0,
            Self::FromGuest => 1,
        }
    }

    /// Of a vring by its number: the pair, and which of its rings.
    #[must_use]
    pub fn of_vring(index: u16) -> (u16, Self) {
        (index / 2, if index.is_multiple_of(2) { Self::ToGuest } else { Self::FromGuest })
    }
}

/// One command for one queue pair.
#[derive(Debug)]
pub enum VringCommand {
    /// Poll this ring from now on.
    Start(Direction, Box<Vring>),
    /// Leave the ring; the reply has its position.
    Stop(Direction),
    /// GET_VRING_BASE: leave the ring; its position is the front end's to know from now on.
    Finish(Direction),
    /// SET_VRING_ENABLE.
    Enable(Direction, bool),
    /// SET_VRING_CALL while the ring runs.
    Call(Direction, Option<Call>),
    /// Log what is written from now on, or do not.
    Log(Direction, Option<Box<Log>>),
    /// SEND_RARP: receive this frame as if the guest had sent it.
    Announce(Mbuf),
    /// How the rings are.
    Report,
}

/// The reply to a command.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reply {
    /// Position of the ring that was stopped, as in SET_VRING_BASE; `None` if none ran.
    pub base: Option<u32>,
    /// Of a report: descriptors that wait in the guest's receive ring and transmit ring; of a packed one, up to 1024.
    pub waiting: [Option<u16>; 2],
    /// Calls made since the pair was opened.
    pub calls: u64,
    /// Kicks that woke us.
    pub kicks: u64,
}

/// Where the reply goes.
pub type ReplySender = Sender<Reply>;

/// What a queue pair reports unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RingFaultEvent {
    /// Number of the pair.
    pub pair: u16,
    /// Which ring.
    pub direction: Direction,
    /// What the guest did.
    pub fault: super::RingFault,
}
