//! Round trips at a fixed rate: pings sent each at its moment, answers taken without sleeping.
//!
//! Sender and receiver are one thread that spins on the load core, so that no wake-up of the measuring side is in the
//! figure; station B's kernel answers in the softirq that delivers the request. A request is not held back by a late
//! answer (open loop).

use crate::failure::{During, Failure, Result, fail};
use crate::rig::{IP_B, LOAD_CORE};
use crate::world::A;
use nix::errno::Errno;
use nix::sched::{CloneFlags, CpuSet, sched_setaffinity, setns};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, connect, recv, send, socket,
};
use nix::unistd::Pid;
use std::fs::File;
use std::net::SocketAddrV4;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

/// ICMP header and 36 bytes of payload: a frame of 78 bytes.
const MESSAGE: usize = 44;
/// IPv4 without options.
const IP_HEADER: usize = 20;
/// How long to wait for the last answers.
const LINGER: Duration = Duration::from_millis(200);

/// Times in microseconds of the round trips of `rate` pings per second for `time`.
pub fn at_rate(rate: u32, time: Duration) -> Result<Vec<f64>> {
    let thread = thread::spawn(move || {
        let netns = File::open(format!("/run/netns/{A}")).during(A)?;
        setns(netns, CloneFlags::CLONE_NEWNET).during(A)?;
        let mut cores = CpuSet::new();
        cores.set(LOAD_CORE).during("the load core")?;
        sched_setaffinity(Pid::from_raw(0), &cores).during("pinning the sender")?;
        Echo::open()?.run(Duration::from_secs(1) / rate, time)
    });
    thread.join().map_err(|_| Failure("the sender panicked".into()))?
}

struct Echo {
    socket: OwnedFd,
    /// When each number was last used; the rate and the time a trip may take are far from using one twice.
    sent: Vec<Option<Instant>>,
    times: Vec<f64>,
}

impl Echo {
    fn open() -> Result<Self> {
        let socket = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp);
        let socket = socket.during("a raw socket")?;
        let address: SocketAddrV4 = format!("{IP_B}:0").parse().during("station B's address")?;
        connect(socket.as_raw_fd(), &SockaddrIn::from(address)).during("station B")?;
        Ok(Self { socket, sent: vec![None; 1 << 16], times: Vec::new() })
    }

    fn run(mut self, gap: Duration, time: Duration) -> Result<Vec<f64>> {
        let start = Instant::now();
        let (mut next, mut number) = (start, 0u16);
        while next - start < time {
            if Instant::now() >= next {
                self.request(number)?;
                number = number.wrapping_add(1);
                next += gap;
            }
            self.answer()?;
        }
        let end = Instant::now();
        while end.elapsed() < LINGER && self.sent.iter().any(Option::is_some) {
            self.answer()?;
        }
        let lost = self.sent.iter().flatten().count();
        // a handful may be lost while the switch is learning
        if self.times.is_empty() || lost * 1000 > self.times.len() {
            return fail(format!("{lost} of {} pings were not answered", lost + self.times.len()));
        }
        Ok(self.times)
    }

    fn request(&mut self, number: u16) -> Result<()> {
        self.sent[usize::from(number)] = Some(Instant::now());
        match send(self.socket.as_raw_fd(), &message(number), MsgFlags::MSG_DONTWAIT) {
            Ok(_) | Err(Errno::ENOBUFS | Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error).during("sending a ping"),
        }
    }

    fn answer(&mut self) -> Result<()> {
        let mut packet = [0; IP_HEADER + MESSAGE];
        match recv(self.socket.as_raw_fd(), &mut packet, MsgFlags::MSG_DONTWAIT) {
            Ok(_) => {
                let reply = &packet[IP_HEADER..];
                let number = usize::from(u16::from_be_bytes([reply[6], reply[7]]));
                if let Some(sent) = self.sent[number].take_if(|_| reply[0] == 0) {
                    self.times.push(sent.elapsed().as_secs_f64() * 1e6);
                }
                Ok(())
            }
            Err(Errno::EAGAIN) => Ok(()),
            Err(error) => Err(error).during("receiving answers"),
        }
    }
}

/// An echo request (RFC 792) with its number.
fn message(number: u16) -> [u8; MESSAGE] {
    const ECHO: u16 = 8 << 8;
    let mut bytes = [0; MESSAGE];
    bytes[..2].copy_from_slice(&ECHO.to_be_bytes());
    bytes[6..8].copy_from_slice(&number.to_be_bytes());
    // two words that are not 0: their sum, with the carry
    let (sum, carry) = ECHO.overflowing_add(number);
    bytes[2..4].copy_from_slice(&(!(sum + u16::from(carry))).to_be_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn a_request_has_the_checksum_of_the_internet() {
        for number in [0, 1, 0xf7ff, 0xf800, 0xffff] {
            let words = message(number).chunks(2).map(|w| u32::from(w[0]) << 8 | u32::from(w[1])).sum::<u32>();
            assert_eq!((words >> 16) + (words & 0xffff), 0xffff, "{number}");
        }
    }
}
