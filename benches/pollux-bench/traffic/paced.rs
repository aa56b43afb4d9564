//! A sender of a fixed rate: one packet socket in station A, one frame at a time, each at its moment.
//!
//! It spins between frames, pinned to the load core, and measures how long each `send` takes: with a switch in the
//! kernel that is where the switching happens.

use crate::failure::{During, Failure, Result};
use crate::rig::{DEV_A, LOAD_CORE, MAC_A, MAC_B};
use crate::world::A;
use nix::errno::Errno;
use nix::ifaddrs::getifaddrs;
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, bind, send, setsockopt, socket, sockopt,
};
use nix::unistd::Pid;
use std::fs::File;
use std::hint::spin_loop;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

/// Without FCS.
const FRAME: usize = 60;
/// "Local experimental 1": no stack answers it.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];

/// What was sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Frames the kernel took.
    pub frames: u64,
    /// Frames it refused.
    pub refused: u64,
    /// Time spent in `send`.
    pub sending: Duration,
}

/// Sends `rate` frames per second from station A to station B for `time`, while `during` runs.
pub fn send_while<T: Send>(rate: u32, time: Duration, during: impl FnOnce() -> Result<T> + Send) -> Result<(Sent, T)> {
    thread::scope(|scope| {
        let sender = scope.spawn(move || sender(rate, time));
        let outcome = during()?;
        let sent = sender.join().map_err(|_| Failure("the sender panicked".into()))??;
        Ok((sent, outcome))
    })
}

fn sender(rate: u32, time: Duration) -> Result<Sent> {
    let netns = File::open(format!("/run/netns/{A}")).during(A)?;
    setns(netns, CloneFlags::CLONE_NEWNET).during(A)?;
    let mut cores = CpuSet::new();
    cores.set(LOAD_CORE).during("the load core")?;
    sched_setaffinity(Pid::from_raw(0), &cores).during("pinning the sender")?;
    pace(&open(DEV_A)?, rate, time)
}

fn open(dev: &str) -> Result<OwnedFd> {
    // protocol 0: nothing is received
    let socket = socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, None::<SockProtocol>);
    let socket = socket.during("a packet socket")?;
    setsockopt(&socket, sockopt::SndBuf, &(1 << 20)).during("the send buffer")?;
    let links = getifaddrs().during("interfaces")?.filter(|link| link.interface_name == dev);
    let address = links.filter_map(|link| link.address?.as_link_addr().copied()).next();
    let address: LinkAddr = address.ok_or_else(|| Failure(format!("station A has no {dev}")))?;
    bind(socket.as_raw_fd(), &address).during(dev)?;
    Ok(socket)
}

fn pace(socket: &OwnedFd, rate: u32, time: Duration) -> Result<Sent> {
    let (frame, gap) = (frame(), Duration::from_secs(1) / rate);
    let (start, mut sent, mut next) = (Instant::now(), Sent::default(), Instant::now());
    while start.elapsed() < time {
        let now = wait_until(next);
        match send(socket.as_raw_fd(), &frame, MsgFlags::MSG_DONTWAIT) {
            Ok(_) => sent.frames += 1,
            Err(Errno::ENOBUFS | Errno::EAGAIN) => sent.refused += 1,
            Err(error) => return Err(error).during("sending a frame"),
        }
        sent.sending += now.elapsed();
        next += gap;
    }
    Ok(sent)
}

fn wait_until(moment: Instant) -> Instant {
    loop {
        let now = Instant::now();
        if now >= moment {
            return now;
        }
        spin_loop();
    }
}

fn frame() -> Vec<u8> {
    let mut frame: Vec<u8> = [mac(MAC_B), mac(MAC_A), ETHERTYPE.to_vec()].concat();
    frame.resize(FRAME, 0);
    frame
}

fn mac(text: &str) -> Vec<u8> {
    text.split(':').filter_map(|byte| u8::from_str_radix(byte, 16).ok()).collect()
}
