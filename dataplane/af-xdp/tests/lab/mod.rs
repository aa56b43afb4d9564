//! A network namespace per test, a veth in it, and a packet socket on the far end.

#![allow(dead_code, reason = "shared by test binaries that use different parts")]

pub mod memory;
pub mod program;

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// Runs `test` on a thread in a new network namespace, which goes with the thread. Without privileges the test is
/// skipped, which is a failure if `PRIVILEGED_TESTS` promised that it would run.
pub fn in_netns(test: fn()) {
    let body = move || {
        // SAFETY: no pointers; affects this thread only.
        let done = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        if done != 0 {
            return Err(io::Error::last_os_error());
        }
        test();
        Ok(())
    };
    match thread::spawn(body).join() {
        Ok(Ok(())) => {}
        Ok(Err(why)) => {
            assert!(std::env::var_os("PRIVILEGED_TESTS").is_none(), "no network namespace: {why}");
            eprintln!("skipped: no network namespace: {why}");
        }
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

pub fn ip(arguments: &str) -> String {
    let output = Command::new("ip").args(arguments.split_whitespace()).output().expect("ip runs");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub fn ifindex(name: &str) -> u32 {
    let name = std::ffi::CString::new(name).expect("a name without NUL");
    // SAFETY: `name` is a C string.
    let index = unsafe { libc::if_nametoindex(name.as_ptr()) };
    assert_ne!(index, 0, "{name:?}: {}", io::Error::last_os_error());
    index
}

/// `ours` and `theirs`, up and silent, MTU 9000; the index of ours.
pub fn veth() -> u32 {
    ip("link add ours type veth peer name theirs");
    for end in ["ours", "theirs"] {
        std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1").expect("IPv6 goes off");
        ip(&format!("link set {end} mtu 9000 up"));
    }
    // the kernel acts on a new carrier some time after `up`, and drops what is sent in between
    wait_for("a queueing discipline", || ip("link show dev theirs").contains("noqueue").then_some(()));
    ifindex("ours")
}

/// A packet socket: whole frames in and out, each with its `virtio_net_hdr`.
#[derive(Debug)]
pub struct Tapped(File);

/// `struct virtio_net_hdr`: flags, `gso_type`, `hdr_len`, `gso_size`, `csum_start`, `csum_offset`.
pub const VNET_HDR: usize = 10;

impl Tapped {
    pub fn on(name: &str) -> Self {
        // SAFETY: no pointers.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0) };
        assert!(fd >= 0, "packet socket: {}", io::Error::last_os_error());
        // SAFETY: the descriptor is new and ours alone.
        let socket = unsafe { OwnedFd::from_raw_fd(fd) };
        let on: libc::c_int = 1;
        // SAFETY: `on` is read as the 4 bytes it has.
        let set = unsafe { libc::setsockopt(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, (&raw const on).cast(), 4) };
        assert_eq!(set, 0, "PACKET_VNET_HDR: {}", io::Error::last_os_error());
        // SAFETY: a struct of integers.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap().to_be();
        address.sll_ifindex = i32::try_from(ifindex(name)).unwrap();
        let len = libc::socklen_t::try_from(size_of_val(&address)).unwrap();
        // SAFETY: `address` is a whole sockaddr_ll of `len` bytes.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), len) };
        assert_eq!(bound, 0, "bind: {}", io::Error::last_os_error());
        Tapped(File::from(socket))
    }

    /// Sends a whole frame.
    pub fn send(&mut self, frame: &[u8]) {
        let mut bytes = vec![0; VNET_HDR];
        bytes.extend_from_slice(frame);
        assert_eq!(self.0.write(&bytes).expect("the frame goes out"), bytes.len());
    }

    /// The next frame, if there is one, with its header.
    pub fn receive(&mut self) -> Option<([u8; VNET_HDR], Vec<u8>)> {
        let mut bytes = vec![0; 65536];
        let n = self.0.read(&mut bytes).ok()?;
        let header = *bytes.first_chunk().expect("a whole header");
        Some((header, bytes[VNET_HDR..n].to_vec()))
    }
}

/// A broadcast frame of `len` bytes with a type of no protocol, numbered.
pub fn frame(number: u8, len: usize) -> Vec<u8> {
    let mut frame: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
    frame[..6].fill(0xff);
    frame[6..15].copy_from_slice(&[2, 0, 0, 0, 0, 9, 0x88, 0xb5, number]);
    frame
}

/// Repeats `attempt` until it gives something.
pub fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        if let Some(done) = attempt() {
            return done;
        }
        assert!(Instant::now() < deadline, "{what} did not happen within 5 s");
        thread::yield_now();
    }
}
