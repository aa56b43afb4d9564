//! A packet socket that shows frames as they are on the wire: a tag the kernel has put beside the frame is put back.

use crate::common::wait_for;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::libc;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, bind, recvmsg, send, setsockopt};
use nix::{setsockopt_impl, sockopt_impl};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd};

sockopt_impl!(
    /// Asks for the tag that the kernel took out of the frame.
    Auxdata, SetOnly, libc::SOL_PACKET, libc::PACKET_AUXDATA, bool
);

/// linux/if_packet.h: somebody else's frame on its way out; one for another station.
const OUTGOING: u8 = 4;
const OTHERHOST: u8 = 3;
/// `tp_status` of `struct tpacket_auxdata`: the fields `vlan_tci` and `vlan_tpid` mean something.
const VLAN_VALID: u32 = 0x10;
const VLAN_TPID_VALID: u32 = 0x40;

/// Which frames of an interface are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sight {
    /// All that come in.
    All,
    /// Those of one EtherType that its own stack gets: what a receive handler took away is not shown, nor what the
    /// stack would throw away because it is for another station.
    Stack(u16),
}

/// A packet socket on one interface.
#[derive(Debug)]
pub struct Wire {
    fd: OwnedFd,
    sight: Sight,
    index: usize,
}

impl Wire {
    /// On `ifname` in the namespace of the calling thread.
    pub fn open(ifname: &str, sight: Sight) -> Self {
        let ethertype = match sight {
            Sight::All => u16::try_from(libc::ETH_P_ALL).expect("an EtherType"),
            Sight::Stack(ethertype) => ethertype,
        };
        let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(i32::from(ethertype.to_be()))));
        let socket = socket.expect("a packet socket");
        socket.set_nonblocking(true).expect("a socket that does not block");
        let fd = OwnedFd::from(socket);
        setsockopt(&fd, Auxdata, &true).expect("PACKET_AUXDATA");
        // the address has no protocol: the socket keeps its own
        let address = link_address(ifname);
        bind(fd.as_raw_fd(), &address).expect("binding a packet socket");
        let wire = Self { fd, sight, index: address.ifindex() };
        while wire.receive().is_some() {}
        wire
    }

    /// Sends one frame as it is.
    pub fn send(&self, frame: &[u8]) {
        wait_for("room to send", || match send(self.fd.as_raw_fd(), frame, MsgFlags::empty()) {
            Err(Errno::ENOBUFS | Errno::EAGAIN | Errno::EINTR) => None,
            other => Some(other.expect("sending a frame")),
        });
    }

    /// The next frame, if one is waiting.
    pub fn receive(&self) -> Option<Vec<u8>> {
        let mut buffer = vec![0; 4096];
        loop {
            let mut room = nix::cmsg_space!([u8; 64]);
            let mut iov = [IoSliceMut::new(&mut buffer)];
            let got = match recvmsg::<LinkAddr>(self.fd.as_raw_fd(), &mut iov, Some(&mut room), MsgFlags::empty()) {
                Ok(got) => got,
                // ENETDOWN is said once, when the interface goes down.
                Err(Errno::EAGAIN | Errno::ENETDOWN) => return None,
                Err(error) => panic!("reading a packet socket: {error}"),
            };
            let len = got.bytes;
            let shown = got.address.is_none_or(|from| self.shows(&from));
            let tag = got.cmsgs().expect("control messages").find_map(tag);
            if shown {
                let mut frame = buffer[..len].to_vec();
                frame.splice(12..12, tag.into_iter().flatten());
                return Some(frame);
            }
        }
    }

    /// A socket of one EtherType is also shown, with its new interface, what a receive handler gave to another.
    fn shows(&self, from: &LinkAddr) -> bool {
        let stays = from.ifindex() == self.index && from.pkttype() != OTHERHOST;
        from.pkttype() != OUTGOING && (self.sight == Sight::All || stays)
    }
}

/// The tag in a `struct tpacket_auxdata` (linux/if_packet.h), if there is one.
fn tag(message: ControlMessageOwned) -> Option<[u8; 4]> {
    let ControlMessageOwned::Unknown(message) = message else { return None };
    let bytes = message.data_bytes;
    let half = |at: usize| bytes.get(at..at + 2).map(|b| u16::from_ne_bytes([b[0], b[1]]));
    let status = u32::from_ne_bytes(bytes.first_chunk().copied()?);
    let tpid = if status & VLAN_TPID_VALID != 0 { half(18)? } else { 0x8100 };
    let [[a, b], [c, d]] = [tpid.to_be_bytes(), half(16)?.to_be_bytes()];
    (status & VLAN_VALID != 0).then_some([a, b, c, d])
}

fn link_address(ifname: &str) -> LinkAddr {
    let all = getifaddrs().expect("interfaces").filter(|i| i.interface_name == ifname);
    let address = all.filter_map(|i| i.address).find_map(|a| a.as_link_addr().copied());
    address.unwrap_or_else(|| panic!("there is no interface {ifname} here"))
}
