//! What the kernel says of the process at the other end. Only to explain what would not work anyway: nothing is believed,
//! or refused, for what a peer could have arranged.

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use std::fs;
use std::os::unix::net::UnixStream;

/// The process that connected, or listens.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(Option<i32>);

impl Peer {
    pub(super) fn of(stream: &UnixStream) -> Self {
        Self(getsockopt(stream, PeerCredentials).ok().map(|credentials| credentials.pid()))
    }

    /// Whether the process has a private mapping at `addr`: of what it writes there we would see nothing, although the
    /// file is the right one (QEMU's `share=off`). False if it cannot be told.
    pub(super) fn keeps_private(self, addr: u64) -> bool {
        let maps = self.0.and_then(|pid| fs::read_to_string(format!("/proc/{pid}/maps")).ok());
        maps.is_some_and(|maps| is_private(&maps, addr))
    }
}

/// Whether the line of `maps` (proc_pid_maps(5)) that has `addr` says `p`.
fn is_private(maps: &str, addr: u64) -> bool {
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    maps.lines().any(|line| {
        let mut words = line.split_whitespace();
        let range = words.next().and_then(|range| range.split_once('-'));
        let inside = range.and_then(|(from, to)| Some((hex(from)?..hex(to)?).contains(&addr)));
        inside == Some(true) && words.next().is_some_and(|mode| mode.ends_with('p'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_mapping_is_told_from_a_shared_one() {
        let maps = "7f00-7f10 rw-p 00000000 00:01 5 /memfd:a\n7f10-7f20 rw-s 00000000 00:01 6 /memfd:b\nnonsense\n";
        assert!(is_private(maps, 0x7f00) && is_private(maps, 0x7f0f));
        assert!(!is_private(maps, 0x7f10) && !is_private(maps, 0x8000));
    }
}
