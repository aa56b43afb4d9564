//! Making a TAP: on the control thread, inside the network namespace that is to have the device.

use super::watch::Watch;
use super::{Tap, sys};
use crate::offload::{Features, vnet};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open as open_file};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Most queues of a TAP (MAX_TAP_QUEUES, drivers/net/tun.c).
const MAX_QUEUES: u16 = 256;

const DEVICE: &str = "/dev/net/tun";

/// What TUNSETOFFLOAD is asked for, best first. USO came with Linux 6.2, for both IP versions together; TSO counts only
/// together with checksums.
const LADDER: [(libc::c_uint, Features); 4] = [
    (CSUM | TSO | libc::TUN_F_USO4 | libc::TUN_F_USO6, Features::ALL),
    (CSUM | TSO, Features { uso: false, ..Features::ALL }),
    (CSUM, Features { csum: true, tso4: false, tso6: false, ecn: false, uso: false }),
    (0, Features { csum: false, tso4: false, tso6: false, ecn: false, uso: false }),
];
const CSUM: libc::c_uint = libc::TUN_F_CSUM;
const TSO: libc::c_uint = libc::TUN_F_TSO4 | libc::TUN_F_TSO6 | libc::TUN_F_TSO_ECN;

/// What to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TapConfig {
    /// Name of the device.
    pub ifname: String,
    /// Number of queues, at least 1.
    pub queues: u16,
    /// How an idle queue is looked at.
    pub idle: IdleLook,
}

/// How a worker finds out that nothing waits in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum IdleLook {
    /// By io_uring where the kernel allows it, by a read elsewhere.
    #[default]
    Auto,
    /// By a read, every turn.
    Read,
}

/// A new TAP.
#[derive(Debug)]
pub struct TapPort {
    /// One per queue, in the kernel's order.
    pub queues: Vec<Tap>,
    /// The offloads obtained, as `ports` shows them.
    pub offloads: String,
    /// How idle queues are looked at, as `ports` shows it: `io_uring`, or `read` and why.
    pub idle: String,
    /// For the control thread to keep.
    pub carrier: Carrier,
}

/// Sets the carrier of a TAP. Keeps the device alive: drop it with the port.
#[derive(Debug)]
pub struct Carrier(OwnedFd);

impl Carrier {
    /// Whether the far end sees somebody at the other end of its cable.
    ///
    /// # Errors
    /// When the kernel has no TUNSETCARRIER (before Linux 5.0), or the device is gone.
    pub fn set(&self, on: bool) -> io::Result<()> {
        Ok(sys::set_carrier(self.0.as_fd(), on)?)
    }

    /// Whether the interface is set up. The driver takes frames only while it is (tun_sock_writeable, drivers/net/tun.c),
    /// and says so without a look into the interface's namespace.
    #[must_use]
    pub fn is_up(&self) -> bool {
        let mut fds = [PollFd::new(self.0.as_fd(), PollFlags::POLLOUT)];
        let polled = poll(&mut fds, PollTimeout::ZERO);
        polled.is_ok_and(|ready| ready > 0) && fds[0].revents().is_some_and(|now| now.contains(PollFlags::POLLOUT))
    }
}

/// Why there is no TAP.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The kernel would refuse the name, or put a number of its own in it.
    #[error("`{0}` cannot name a network device; use 1 to 15 characters without `/`, `%`, `:` or blanks")]
    BadName(String),
    /// None, or more than the kernel has.
    #[error("tap {ifname}: {queues} queues; use 1 to {MAX_QUEUES}")]
    Queues {
        /// Name of the device.
        ifname: String,
        /// Number asked for.
        queues: u16,
    },
    /// The driver is not there.
    #[error("{DEVICE}: {0}; load the driver: `modprobe tun`")]
    NoDriver(io::Error),
    /// Not allowed to.
    #[error("tap {ifname}: {cause}; making a network device needs CAP_NET_ADMIN and access to {DEVICE}: run as root")]
    Denied {
        /// Name of the device.
        ifname: String,
        /// What the kernel said.
        cause: io::Error,
    },
    /// There is a device of that name.
    #[error("tap {0}: the name is taken; choose another `ifname`, or remove it: `ip link del {0}`")]
    Taken(String),
    /// A step that should not fail.
    #[error("tap {ifname}: {step}: {cause}; this needs the tun driver of Linux 3.8 or later")]
    Step {
        /// Name of the device.
        ifname: String,
        /// The system call.
        step: &'static str,
        /// What the kernel said.
        cause: io::Error,
    },
}

/// Makes a TAP with its queues, and leaves it down. It goes away with its last queue.
///
/// # Errors
/// [`TapError`]; nothing is left behind then.
pub fn open(config: &TapConfig) -> Result<TapPort, TapError> {
    check(config)?;
    let first = attach(config, libc::IFF_TUN_EXCL)?;
    let features = negotiate(&first);
    let carrier = first.try_clone().map_err(|cause| step(config, "dup", cause))?;
    let mut fds = vec![first];
    for _ in 1..config.queues {
        fds.push(attach(config, 0)?);
    }
    let (watches, idle) = watch(config);
    let mut watches = watches.into_iter();
    let queues = fds.into_iter().map(|fd| Tap::new(fd, features, watches.next())).collect();
    Ok(TapPort { queues, offloads: features.to_string(), idle, carrier: Carrier(carrier) })
}

/// A watch per queue, or none at all; and what there is.
fn watch(config: &TapConfig) -> (Vec<Watch>, String) {
    if config.idle == IdleLook::Read {
        return (Vec::new(), "read".into());
    }
    match (0..config.queues).map(|_| Watch::new()).collect::<io::Result<Vec<Watch>>>() {
        Ok(watches) => (watches, "io_uring".into()),
        Err(refused) => (Vec::new(), format!("read (io_uring: {refused})")),
    }
}

fn step(config: &TapConfig, step: &'static str, cause: io::Error) -> TapError {
    TapError::Step { ifname: config.ifname.clone(), step, cause }
}

fn check(config: &TapConfig) -> Result<(), TapError> {
    let TapConfig { ifname, queues, .. } = config;
    let odd = |c: char| matches!(c, '/' | '%' | ':' | '\0') || c.is_whitespace();
    if !(1..libc::IFNAMSIZ).contains(&ifname.len()) || ifname.contains(odd) || matches!(ifname.as_str(), "." | "..") {
        return Err(TapError::BadName(ifname.clone()));
    }
    if !(1..=MAX_QUEUES).contains(queues) {
        return Err(TapError::Queues { ifname: ifname.clone(), queues: *queues });
    }
    Ok(())
}

/// Opens one queue, and makes the device if `exclusive` says so.
fn attach(config: &TapConfig, exclusive: libc::c_int) -> Result<OwnedFd, TapError> {
    let ifname = &config.ifname;
    let flags = OFlag::O_RDWR | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let fd = open_file(DEVICE, flags, Mode::empty()).map_err(|errno| refused(ifname, "open", errno))?;
    let several = if config.queues > 1 { libc::IFF_MULTI_QUEUE } else { 0 };
    let kind = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_VNET_HDR | several | exclusive;
    let header = libc::c_int::try_from(vnet::LEN).unwrap_or(0);
    sys::set_iff(fd.as_fd(), ifname, kind).map_err(|errno| refused(ifname, "TUNSETIFF", errno))?;
    sys::set_header_size(fd.as_fd(), header).map_err(|errno| refused(ifname, "TUNSETVNETHDRSZ", errno))?;
    sys::set_little_endian(fd.as_fd()).map_err(|errno| refused(ifname, "TUNSETVNETLE", errno))?;
    Ok(fd)
}

/// The best offloads that the kernel grants; they hold for the whole device.
fn negotiate(fd: &OwnedFd) -> Features {
    let granted = LADDER.iter().find(|(flags, _)| sys::set_offload(fd.as_fd(), *flags).is_ok());
    granted.map(|(_, features)| *features).unwrap_or_default()
}

fn refused(ifname: &str, step: &'static str, errno: Errno) -> TapError {
    let (ifname, cause) = (ifname.to_owned(), io::Error::from(errno));
    match (step, errno) {
        ("open", Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => TapError::NoDriver(cause),
        (_, Errno::EPERM | Errno::EACCES) => TapError::Denied { ifname, cause },
        ("TUNSETIFF", Errno::EBUSY | Errno::EEXIST) => TapError::Taken(ifname),
        _ => TapError::Step { ifname, step, cause },
    }
}
