//! What rtnetlink cannot change about a netdev: one feature flag, by the ethtool ioctl (net/ethtool/ioctl.c).
//! Control thread only.

#![allow(unsafe_code)]

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

/// `ETHTOOL_GFLAGS`, `ETHTOOL_SFLAGS` (include/uapi/linux/ethtool.h): get and set the flags below.
const GET_FLAGS: u32 = 0x25;
const SET_FLAGS: u32 = 0x26;
/// `ETH_FLAG_TXVLAN`: the driver takes tags beside the frame.
const TX_VLAN: u32 = 1 << 7;

/// `struct ethtool_value`.
#[repr(C)]
struct EthtoolValue {
    cmd: u32,
    data: u32,
}

/// Makes the netdev `ifname` of the calling thread's network namespace write VLAN tags into the frames it sends, where
/// the far end of a veth pair can see them: `ethtool -K IFNAME txvlan off`.
///
/// # Errors
/// What the kernel says, e.g. ENODEV, or EOPNOTSUPP if the feature cannot be changed.
pub fn keep_vlan_tags_inline(ifname: &str) -> io::Result<()> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let flags = ethtool(&any, ifname, GET_FLAGS, 0)?;
    if flags & TX_VLAN != 0 {
        ethtool(&any, ifname, SET_FLAGS, flags & !TX_VLAN)?;
    }
    Ok(())
}

/// One ethtool request with a value in and out.
fn ethtool(any: &OwnedFd, ifname: &str, cmd: u32, data: u32) -> io::Result<u32> {
    if ifname.len() >= libc::IFNAMSIZ {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    let mut value = EthtoolValue { cmd, data };
    // SAFETY: ifreq is plain data, for which all zeros is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (target, byte) in request.ifr_name.iter_mut().zip(ifname.bytes()) {
        *target = byte.cast_signed();
    }
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: SIOCETHTOOL reads one ifreq, and for these commands reads and writes the ethtool_value it points to;
    // both live until the call is over.
    Errno::result(unsafe { libc::ioctl(any.as_raw_fd(), libc::SIOCETHTOOL, &raw mut request) })?;
    Ok(value.data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        assert_eq!(keep_vlan_tags_inline("plxt-none").unwrap_err().raw_os_error(), Some(libc::ENODEV));
        assert_eq!(keep_vlan_tags_inline("a-name-beyond-the-limit").unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
