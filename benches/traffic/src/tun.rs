//! Making a TAP: one ioctl, for which nix has no safe call. A crate for it would be more to trust than this one line.
#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::libc;
use std::os::fd::{AsRawFd, BorrowedFd};

/// TUNSETIFF: makes the TAP `name`, without headers before its frames, for this open `/dev/net/tun`.
pub(crate) fn make_tap(fd: BorrowedFd<'_>, name: &str) -> nix::Result<()> {
    if !(1..libc::IFNAMSIZ).contains(&name.len()) {
        return Err(Errno::ENAMETOOLONG);
    }
    let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru: flags() };
    for (target, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *target = byte.cast_signed();
    }
    // SAFETY: TUNSETIFF reads and writes one ifreq, and this one is ours until the call has returned.
    Errno::result(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &raw mut request) }).map(drop)
}

/// IFF_TUN_EXCL: never use an interface that exists already.
#[allow(clippy::cast_possible_truncation, reason = "the flags have 16 bits")]
fn flags() -> libc::__c_anonymous_ifr_ifru {
    let flags = libc::IFF_TAP | libc::IFF_NO_PI | libc::IFF_TUN_EXCL;
    libc::__c_anonymous_ifr_ifru { ifru_flags: flags as libc::c_short }
}
