//! What a socket is bound to, and how.

use std::time::Duration;

/// May the device read and write the UMEM itself, or does the kernel copy?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Zero-copy if the driver can, else copy; [`Socket::report`](crate::Socket::report) says why not.
    #[default]
    ZeroCopyThenCopy,
    /// Zero-copy or failure.
    ZeroCopy,
    /// The kernel copies.
    Copy,
}

/// Busy polling: the device is polled from [`Socket::wakeup_rx`](crate::Socket::wakeup_rx) and
/// [`Socket::wakeup_tx`](crate::Socket::wakeup_tx) instead of by interrupts. Only with a
/// [`Socket::napi_id`](crate::Socket::napi_id) other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BusyPoll {
    /// `SO_BUSY_POLL`: microseconds to poll.
    pub usecs: u32,
    /// `SO_BUSY_POLL_BUDGET`: frames per poll.
    pub budget: u32,
}

/// One socket, to be opened. Ring sizes are powers of two.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketConfig {
    /// The netdev, in the network namespace of the opening thread.
    pub ifindex: u32,
    /// The queue. Beyond the device's TX queues the bind may succeed and then nothing is ever transmitted: check first.
    pub queue: u32,
    /// Entries of the RX ring.
    pub rx_size: u32,
    /// Entries of the TX ring.
    pub tx_size: u32,
    /// Entries of the fill ring.
    pub fill_size: u32,
    /// Entries of the completion ring. Not smaller than the TX ring, or transmission stalls when it is full.
    pub completion_size: u32,
    /// Zero-copy or copy.
    pub mode: Mode,
    /// `XDP_USE_NEED_WAKEUP`: the kernel says when it wants to be kicked.
    pub need_wakeup: bool,
    /// `XDP_USE_SG`: frames may span descriptors (since Linux 6.6).
    pub multi_buffer: bool,
    /// `XDP_MAX_TX_SKB_BUDGET`: frames one kick may take in copy mode, instead of 32 (since Linux 6.17; older kernels
    /// go on with 32, which [`Socket::report`](crate::Socket::report) says).
    pub tx_budget: Option<u32>,
    /// Busy polling.
    pub busy_poll: Option<BusyPoll>,
    /// `SO_SNDBUF`: bytes in flight in copy mode.
    pub send_buffer: Option<u32>,
    /// How long to wait for a queue that is taken: after a close the kernel keeps it for some 20 ms more.
    pub bind_wait: Duration,
}

impl SocketConfig {
    /// Rings of 2048 entries, zero-copy if possible, wake-ups on request, multi-buffer.
    pub fn new(ifindex: u32, queue: u32) -> Self {
        SocketConfig {
            ifindex,
            queue,
            rx_size: 2048,
            tx_size: 2048,
            fill_size: 2048,
            completion_size: 2048,
            mode: Mode::default(),
            need_wakeup: true,
            multi_buffer: true,
            tx_budget: Some(2048),
            busy_poll: None,
            send_buffer: None,
            bind_wait: Duration::from_millis(500),
        }
    }
}
