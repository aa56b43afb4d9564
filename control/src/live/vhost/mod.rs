//! vhost-user: the protocol between a front end (QEMU, a DPDK process) and one port.
//!
//! ```text
//! front end ── unix socket ── guest (thread of the port) ── commands ─▶ workers
//!                               ├ wire      is a whole message there? what the crate `vhost` does not speak
//!                               ├ session   what was agreed on: features, memory, rings
//!                               └ news ──▶ supervisor: up, down, which queue pairs are in use
//! ```
//! A port has one thread, so a front end that dawdles, floods or sends half a message holds up nobody else. The thread
//! takes a ring back from its worker, and waits for the answer, before it answers a message that ends the ring
//! (GET_VRING_BASE, SET_MEM_TABLE): ownership by message, no lock shared with the data path.
//!
//! A migration is a front end that asks for a log of what is written (SET_LOG_BASE, then VHOST_F_LOG_ALL and
//! VHOST_VRING_F_LOG while the rings run), and at the end takes the rings back by GET_VRING_BASE.
//!
//! Until a front end has a ring in service, it gives way to the next that speaks; from then on others are turned away.
//!
//! A front end that breaks the protocol, or a guest that breaks its rings, is disconnected with one line that says why;
//! the port waits for the next one.

pub mod exercise;
pub mod features;
mod guest;
mod listener;
mod pace;
mod peer;
mod rings;
mod session;
pub mod shown;
mod socket;
mod wire;

pub use guest::Guest;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What happened to a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Its queue pairs in use changed.
    Active(Vec<bool>),
    /// Frames pass, both ways.
    Up,
    /// It is gone, or was sent away; why.
    Down(String),
    /// A front end has gone, or was sent away, that had brought nothing up; why.
    Left(String),
}

/// What `ports` shows of a guest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// A front end is connected.
    pub connected: bool,
    /// Virtio features offered.
    pub offered: u64,
    /// Of them those the guest took; 0 before it has.
    pub acked: u64,
    /// Protocol features agreed on.
    pub protocol: u64,
    /// Bytes of guest memory.
    pub memory: u64,
    /// Number of descriptors per ring that runs, by vring number.
    pub rings: Vec<Option<u16>>,
    /// Queue pairs that are enabled.
    pub active: Vec<bool>,
    /// The MTU it was told.
    pub mtu: Option<u64>,
    /// Why the last front end went.
    pub last: Option<String>,
    /// Times a front end was connected.
    pub sessions: u64,
}

impl Status {
    /// Whether frames pass.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.active.contains(&true)
    }
}

/// A status that the thread writes and `ports` reads; never locked on the data path.
type Shared = Arc<Mutex<Status>>;

fn lock(status: &Shared) -> MutexGuard<'_, Status> {
    // plain values, valid at every step
    status.lock().unwrap_or_else(PoisonError::into_inner)
}
