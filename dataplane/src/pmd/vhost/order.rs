//! What a session tells a queue pair, and what comes back. Carried to the worker like every command: between two
//! bursts, in order, with an answer when it was obeyed. So after an answer the worker does not touch what was taken back.

use super::call::Call;
use super::dirty::Log;
use super::line::Line;
use crate::mem::Mbuf;
use crossbeam::channel::Sender;

/// Which of the two rings of a pair, as the guest names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Way {
    /// The guest's receive queue: frames to it.
    ToGuest,
    /// The guest's transmit queue: frames from it.
    FromGuest,
}

/// One order for one queue pair.
#[derive(Debug)]
pub enum Order {
    /// Poll this ring from now on.
    Start(Way, Box<Line>),
    /// Leave the ring; the answer has its position.
    Stop(Way),
    /// GET_VRING_BASE: leave the ring; its position is the front end's to know from now on.
    Finish(Way),
    /// SET_VRING_ENABLE.
    Enable(Way, bool),
    /// SET_VRING_CALL while the ring runs.
    Call(Way, Option<Call>),
    /// Log what is written from now on, or do not.
    Log(Way, Option<Box<Log>>),
    /// SEND_RARP: receive this frame as if the guest had sent it.
    Announce(Mbuf),
    /// How the rings are.
    Report,
}

/// The answer to an order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answer {
    /// Position of the ring that was stopped, as in SET_VRING_BASE; `None` if none ran.
    pub base: Option<u32>,
    /// Of a report: descriptors that wait in the guest's receive ring and transmit ring; of a packed one, up to 1024.
    pub waiting: [Option<u16>; 2],
    /// Calls made since the pair was opened.
    pub calls: u64,
    /// Kicks that woke us.
    pub kicks: u64,
}

/// Where the answer goes.
pub type Reply = Sender<Answer>;

/// What a queue pair reports unasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// Number of the pair.
    pub pair: u16,
    /// Which ring.
    pub way: Way,
    /// What the guest did.
    pub fault: super::RingFault,
}
