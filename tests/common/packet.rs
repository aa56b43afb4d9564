//! Raw frames on an interface of the kernel, by a packet socket that keeps the namespace it was opened in.

use super::{ETHERTYPE, wait_for};
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, recvfrom, send, setsockopt, socket,
    sockopt,
};
use std::os::fd::{AsRawFd, OwnedFd};

/// PACKET_OUTGOING of linux/if_packet.h: somebody else's frame on its way out.
const OUTGOING: u8 = 4;

/// A packet socket on one interface.
#[derive(Debug)]
pub struct Wire(OwnedFd);

impl Wire {
    /// On `ifname` in the namespace of the calling thread.
    pub fn open(ifname: &str) -> Self {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Packet, SockType::Raw, flags, SockProtocol::EthAll).expect("a packet socket");
        setsockopt(&fd, sockopt::RcvBufForce, &(16 << 20)).expect("room for frames");
        bind(fd.as_raw_fd(), &link_address(ifname)).expect("binding a packet socket");
        let wire = Self(fd);
        while wire.next().is_some() {}
        wire
    }

    /// Sends one frame as it is.
    pub fn send(&self, frame: &[u8]) -> nix::Result<usize> {
        loop {
            match send(self.0.as_raw_fd(), frame, MsgFlags::empty()) {
                Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => std::thread::yield_now(),
                other => return other,
            }
        }
    }

    /// Tries once to send a frame; whether the interface took it.
    pub fn try_send(&self, frame: &[u8]) -> bool {
        send(self.0.as_raw_fd(), frame, MsgFlags::empty()).is_ok()
    }

    /// The next frame of a test that came in, if one is waiting. The kernel's own chatter is skipped.
    pub fn receive(&self) -> Option<Vec<u8>> {
        std::iter::from_fn(|| self.next()).find(|frame| frame.get(12..14) == Some(&ETHERTYPE))
    }

    /// The next `n` frames of a test.
    pub fn receive_all(&self, n: usize) -> Vec<Vec<u8>> {
        (0..n).map(|i| wait_for(&format!("frame {i} of {n}"), || self.receive())).collect()
    }

    /// The next frame that came in, whatever it is.
    pub fn next(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 70_000];
        loop {
            let (n, from) = match recvfrom::<LinkAddr>(self.0.as_raw_fd(), &mut buffer) {
                Ok(got) => got,
                // ENETDOWN is said once, when the interface goes down.
                Err(Errno::EAGAIN | Errno::ENETDOWN) => return None,
                Err(error) => panic!("reading a packet socket: {error}"),
            };
            if from.is_none_or(|from| from.pkttype() != OUTGOING) {
                buffer.truncate(n);
                return Some(buffer);
            }
        }
    }
}

fn link_address(ifname: &str) -> LinkAddr {
    let all = getifaddrs().expect("interfaces").filter(|i| i.interface_name == ifname);
    let address = all.filter_map(|i| i.address).find_map(|a| a.as_link_addr().copied());
    address.unwrap_or_else(|| panic!("there is no interface {ifname} here"))
}
