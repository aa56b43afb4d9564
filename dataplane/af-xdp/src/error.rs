//! Why a socket could not be opened: the step, the errno, and what to do about it.

use std::fmt;
use std::io;

/// A step of opening a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// `socket(AF_XDP)`
    Socket,
    /// `setsockopt(XDP_UMEM_REG)`
    RegisterUmem,
    /// `setsockopt(XDP_UMEM_FILL_RING)`
    FillRing,
    /// `setsockopt(XDP_UMEM_COMPLETION_RING)`
    CompletionRing,
    /// `setsockopt(XDP_RX_RING)`
    RxRing,
    /// `setsockopt(XDP_TX_RING)`
    TxRing,
    /// `setsockopt(SO_PREFER_BUSY_POLL)` and its companions
    BusyPoll,
    /// `setsockopt(SO_SNDBUF)`
    SendBuffer,
    /// `getsockopt(XDP_MMAP_OFFSETS)`
    Offsets,
    /// `mmap` of a ring
    Map,
    /// `bind`
    Bind,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Socket => "socket(AF_XDP)",
            Step::RegisterUmem => "setsockopt(XDP_UMEM_REG)",
            Step::FillRing => "setsockopt(XDP_UMEM_FILL_RING)",
            Step::CompletionRing => "setsockopt(XDP_UMEM_COMPLETION_RING)",
            Step::RxRing => "setsockopt(XDP_RX_RING)",
            Step::TxRing => "setsockopt(XDP_TX_RING)",
            Step::BusyPoll => "setsockopt(SO_BUSY_POLL)",
            Step::SendBuffer => "setsockopt(SO_SNDBUF)",
            Step::Offsets => "getsockopt(XDP_MMAP_OFFSETS)",
            Step::Map => "mmap of a ring",
            Step::Bind => "bind",
        })
    }
}

/// A socket that could not be opened.
#[derive(Debug, thiserror::Error)]
#[error("AF_XDP socket on interface {ifindex} queue {queue}: {step}: {source}; {}", self.remedy())]
pub struct OpenError {
    /// The netdev.
    pub ifindex: u32,
    /// The queue.
    pub queue: u32,
    /// What failed.
    pub step: Step,
    /// The kernel's answer.
    pub source: io::Error,
}

impl OpenError {
    /// What to do about it.
    pub fn remedy(&self) -> &'static str {
        remedy(self.step, self.source.raw_os_error().unwrap_or(0))
    }
}

fn remedy(step: Step, errno: i32) -> &'static str {
    match (step, errno) {
        (_, libc::EPERM | libc::EACCES) => "run as root or with CAP_NET_RAW",
        (Step::Socket, libc::EAFNOSUPPORT) => "the kernel lacks CONFIG_XDP_SOCKETS",
        (_, libc::EMFILE | libc::ENFILE) => "raise the limit of open files (ulimit -n)",
        (Step::RegisterUmem, libc::EINVAL) => {
            "chunks must be 2048 or 4096 bytes, the memory page aligned, the headroom smaller than a chunk; \
             TX metadata needs Linux 6.8"
        }
        (Step::RegisterUmem, libc::ENOBUFS) => "raise RLIMIT_MEMLOCK (ulimit -l) or grant CAP_IPC_LOCK",
        (_, libc::ENOMEM | libc::ENOBUFS) => "the kernel is out of memory: make the UMEM or the rings smaller",
        (Step::FillRing | Step::CompletionRing | Step::RxRing | Step::TxRing, libc::EINVAL) => {
            "a ring size must be a power of two"
        }
        (Step::Offsets, _) => "Linux 5.4 or newer is needed",
        (Step::Bind, errno) => bind_remedy(errno),
        _ => "see net/xdp/xsk.c of this kernel for the cause",
    }
}

fn bind_remedy(errno: i32) -> &'static str {
    match errno {
        libc::EBUSY => "another AF_XDP socket holds this queue: close it, or choose another queue",
        libc::ENODEV => "there is no such interface in this network namespace",
        libc::ENETDOWN => "bring the interface up first (ip link set DEV up)",
        libc::EINVAL => "the queue must exist (ethtool -l DEV), and multi-buffer needs Linux 6.6",
        libc::EOPNOTSUPP => "the driver cannot do this mode: allow copy mode",
        _ => "see xsk_bind in net/xdp/xsk.c of this kernel for the cause",
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_message_names_place_step_cause_and_remedy() {
        let source = io::Error::from_raw_os_error(libc::EBUSY);
        let text = OpenError { ifindex: 7, queue: 3, step: Step::Bind, source }.to_string();
        assert_eq!(
            text,
            "AF_XDP socket on interface 7 queue 3: bind: Device or resource busy (os error 16); \
             another AF_XDP socket holds this queue: close it, or choose another queue"
        );
    }

    #[test]
    fn missing_privileges_have_the_same_remedy_everywhere() {
        assert_eq!(remedy(Step::Socket, libc::EPERM), remedy(Step::Bind, libc::EPERM));
    }
}
