//! Opening: a socket with rings ([`Unbound`]) becomes a [`Queue`] by `bind`. For a control thread: `bind` may wait.
//!
//! The order is the kernel's: memory, rings, options, mappings, bind. Closing is the drop of the [`Queue`].
#![allow(unsafe_code)]

use crate::config::{BusyPoll, Mode, SocketConfig};
use crate::error::{OpenError, Step};
use crate::kernel_rings::Rings;
use crate::ring::Fill;
use crate::socket::{Queue, Socket};
use crate::syscall;
use crate::uapi::XDP_MAX_TX_SKB_BUDGET;
use crate::umem::Umem;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

/// `AF_XDP` as wide as the address field.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked at compile time")]
const FAMILY: u16 = libc::AF_XDP as u16;
const _: () = assert!(FAMILY as libc::c_int == libc::AF_XDP);

type Failed = (Step, io::Error);

/// A socket with its memory registered and its rings mapped, not bound to a netdev yet.
///
/// Put frames on the fill ring here: the driver looks for them first at `bind`.
#[derive(Debug)]
pub struct Unbound {
    rings: Rings,
    socket: Socket,
    config: SocketConfig,
}

impl Queue {
    /// Opens and binds at once. Submit frames to the fill ring before the socket goes into an XSKMAP.
    ///
    /// # Errors
    /// If a step fails: which one, why, and the remedy.
    pub fn open(config: &SocketConfig, umem: &Umem) -> Result<Queue, OpenError> {
        Unbound::new(config, umem)?.bind()
    }
}

impl Unbound {
    /// Makes the socket, registers the memory, makes and maps the rings.
    ///
    /// # Errors
    /// If a step fails: which one, why, and the remedy.
    pub fn new(config: &SocketConfig, umem: &Umem) -> Result<Self, OpenError> {
        Self::prepare(config, umem).map_err(|failed| open_error(config, failed))
    }

    fn prepare(config: &SocketConfig, umem: &Umem) -> Result<Self, Failed> {
        let fd = syscall::socket().map_err(at(Step::Socket))?;
        let mut report = Vec::new();
        syscall::register_umem(fd.as_fd(), &umem.registration()).map_err(at(Step::RegisterUmem))?;
        make_rings(fd.as_fd(), config)?;
        set_options(fd.as_fd(), config, &mut report)?;
        let offsets = syscall::mmap_offsets(fd.as_fd()).map_err(at(Step::Offsets))?;
        // SAFETY: the rings of this new socket were just made with these sizes and are mapped nowhere else.
        let rings = unsafe { Rings::map(fd.as_fd(), config, &offsets) }.map_err(at(Step::Map))?;
        Ok(Unbound { rings, socket: Socket::new(fd, report), config: config.clone() })
    }

    /// The fill ring.
    pub fn fill(&mut self) -> &mut Fill {
        &mut self.rings.fill
    }

    /// Binds to the queue; waits up to [`SocketConfig::bind_wait`] for a predecessor's queue to be released.
    ///
    /// # Errors
    /// If the kernel refuses: why, and the remedy. Frames put on the fill ring are the caller's again.
    pub fn bind(mut self) -> Result<Queue, OpenError> {
        let fd = self.socket.as_fd();
        let refused = bind_mode(fd, &self.config).map_err(|e| open_error(&self.config, (Step::Bind, e)))?;
        self.socket.extend_report(refused);
        let Rings { rx, tx, fill, completion } = self.rings;
        Ok(Queue { rx, tx, fill, completion, socket: self.socket })
    }
}

fn at(step: Step) -> impl Fn(io::Error) -> Failed {
    move |error| (step, error)
}

fn open_error(config: &SocketConfig, (step, source): Failed) -> OpenError {
    OpenError { ifindex: config.ifindex, queue: config.queue, step, source }
}

fn make_rings(fd: BorrowedFd<'_>, config: &SocketConfig) -> Result<(), Failed> {
    let set = |step, option, size| syscall::set_xdp(fd, option, size).map_err(at(step));
    set(Step::FillRing, libc::XDP_UMEM_FILL_RING, config.fill_size)?;
    set(Step::CompletionRing, libc::XDP_UMEM_COMPLETION_RING, config.completion_size)?;
    set(Step::RxRing, libc::XDP_RX_RING, config.rx_size)?;
    set(Step::TxRing, libc::XDP_TX_RING, config.tx_size)
}

fn set_options(fd: BorrowedFd<'_>, config: &SocketConfig, report: &mut Vec<String>) -> Result<(), Failed> {
    if let Some(frames) = config.tx_budget {
        // the kernel takes 32 ..= TX ring size; without the option it goes on with 32 frames a kick
        let frames = frames.clamp(32, config.tx_size.max(32));
        if let Err(e) = syscall::set_xdp(fd, XDP_MAX_TX_SKB_BUDGET, frames) {
            report.push(format!("TX budget of {frames} frames refused: {e}; it needs Linux 6.17"));
        }
    }
    if let Some(bytes) = config.send_buffer {
        set_send_buffer(fd, bytes).map_err(at(Step::SendBuffer))?;
    }
    config.busy_poll.map_or(Ok(()), |poll| set_busy_poll(fd, poll).map_err(at(Step::BusyPoll)))
}

/// Beyond the system's limit with CAP_NET_ADMIN, else up to it.
fn set_send_buffer(fd: BorrowedFd<'_>, bytes: u32) -> io::Result<()> {
    syscall::set_socket(fd, libc::SO_SNDBUFFORCE, bytes).or_else(|_| syscall::set_socket(fd, libc::SO_SNDBUF, bytes))
}

fn set_busy_poll(fd: BorrowedFd<'_>, poll: BusyPoll) -> io::Result<()> {
    syscall::set_socket(fd, libc::SO_PREFER_BUSY_POLL, 1)?;
    syscall::set_socket(fd, libc::SO_BUSY_POLL, poll.usecs)?;
    syscall::set_socket(fd, libc::SO_BUSY_POLL_BUDGET, poll.budget)
}

/// Binds in the first mode that works. `Ok(Some(_))` says why it is not zero-copy.
fn bind_mode(fd: BorrowedFd<'_>, config: &SocketConfig) -> io::Result<Option<String>> {
    let deadline = Instant::now() + config.bind_wait;
    let bind = |flags| bind_by(deadline, || syscall::bind(fd, &address(config, flags)));
    match config.mode {
        Mode::ZeroCopy => bind(libc::XDP_ZEROCOPY).map(|()| None),
        Mode::Copy => bind(libc::XDP_COPY).map(|()| None),
        // not flags = 0, by which the kernel falls back silently: the reason is worth knowing
        Mode::ZeroCopyThenCopy => bind(libc::XDP_ZEROCOPY)
            .map(|()| None)
            .or_else(|why| bind(libc::XDP_COPY).map(|()| Some(format!("zero-copy refused: {why}")))),
    }
}

fn address(config: &SocketConfig, mode: u16) -> libc::sockaddr_xdp {
    let wakeup = if config.need_wakeup { libc::XDP_USE_NEED_WAKEUP } else { 0 };
    let chains = if config.multi_buffer { libc::XDP_USE_SG } else { 0 };
    libc::sockaddr_xdp {
        sxdp_family: FAMILY,
        sxdp_flags: mode | wakeup | chains,
        sxdp_ifindex: config.ifindex,
        sxdp_queue_id: config.queue,
        sxdp_shared_umem_fd: 0,
    }
}

/// Repeats `attempt` while the queue is taken: the kernel releases the queue of a closed socket some 20 ms later.
fn bind_by(deadline: Instant, mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    let mut pause = Duration::from_millis(1);
    loop {
        match attempt() {
            Err(e) if e.raw_os_error() == Some(libc::EBUSY) && Instant::now() < deadline => {
                thread::sleep(pause);
                pause = (pause * 2).min(Duration::from_millis(32));
            }
            done => return done,
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::ptr::NonNull;

    fn busy() -> io::Error {
        io::Error::from_raw_os_error(libc::EBUSY)
    }

    #[test]
    fn a_queue_that_is_released_in_time_is_taken() {
        let mut left = 3;
        let attempt = || {
            left -= 1;
            if left > 0 { Err(busy()) } else { Ok(()) }
        };
        bind_by(Instant::now() + Duration::from_secs(60), attempt).unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_queue_that_stays_taken_is_given_up() {
        let result = bind_by(Instant::now() + Duration::from_millis(5), || Err(busy()));
        assert_eq!(result.unwrap_err().raw_os_error(), Some(libc::EBUSY));
    }

    #[test]
    fn other_errors_are_final() {
        let mut attempts = 0;
        let attempt = || {
            attempts += 1;
            Err(io::Error::from_raw_os_error(libc::ENODEV))
        };
        assert!(bind_by(Instant::now() + Duration::from_secs(60), attempt).is_err());
        assert_eq!(attempts, 1);
    }

    #[test]
    fn the_bind_flags_say_what_the_config_says() {
        let mut config = SocketConfig::new(3, 1);
        let all = libc::XDP_ZEROCOPY | libc::XDP_USE_NEED_WAKEUP | libc::XDP_USE_SG;
        assert_eq!(address(&config, libc::XDP_ZEROCOPY).sxdp_flags, all);
        config.need_wakeup = false;
        config.multi_buffer = false;
        assert_eq!(address(&config, libc::XDP_COPY).sxdp_flags, libc::XDP_COPY);
    }

    #[test]
    fn memory_that_is_no_umem_is_refused_with_the_step() {
        // SAFETY: the kernel refuses a null region, so nothing is ever accessed through it.
        let umem = unsafe { Umem::new(NonNull::dangling(), 100, 2048) };
        let error = Unbound::new(&SocketConfig::new(1, 0), &umem).unwrap_err();
        // without privileges the first step already fails
        assert!(matches!(error.step, Step::RegisterUmem | Step::Socket), "{error}");
    }
}
