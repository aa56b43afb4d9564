//! The TAP port: a network device of the kernel whose other end is a file descriptor per queue.
//!
//! A queue belongs to one worker. One system call moves one frame, but a frame may be a TCP super-frame of 64 KiB with
//! its checksum undone: a virtio_net_hdr of 12 bytes in front of each frame says so, both ways (IFF_VNET_HDR,
//! drivers/net/tun.c). What the kernel did not grant on this device is done in software before the frame is written.
//!
//! - Receiving reads into chunks that stand ready (`sys::Standing`); a long frame takes the chunks it lies in, a
//!   short one is copied. A queue that is found empty again and again is not read but watched (`watch::Watch`).
//! - Sending puts the header into the headroom, so that a frame of one chunk is one contiguous write.
//! - An error that will not go away (the device was deleted) is kept as [`Tap::fault`]; from then on nothing is read,
//!   and what is to be sent is dropped as [`DropReason::LinkDown`].

mod open;
mod sys;
mod watch;

pub use open::{Carrier, IdleLook, TapConfig, TapError, TapPort, open};

use crate::mem::{BURST_SIZE, Burst, Mbuf, Mempool, MempoolCache};
use crate::offload::{self, Features, gso, vnet};
use crate::stats::{DropReason, Held, PortCounters};
use arrayvec::ArrayVec;
use nix::errno::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use sys::{Received, Standing};
use watch::Watch;

/// Bytes of a frame below which it has no Ethernet header.
const MIN_FRAME: usize = crate::eth::HEADER_LEN;

/// One queue of a TAP.
#[derive(Debug)]
pub struct Tap {
    fd: OwnedFd,
    standing: Standing,
    /// What the kernel takes off our hands when we write.
    features: Features,
    fault: Option<io::Error>,
    /// None where io_uring is not allowed: the queue is read every turn.
    watch: Option<Watch>,
}

impl Tap {
    fn new(fd: OwnedFd, features: Features, watch: Option<Watch>) -> Self {
        Self { fd, standing: Standing::default(), features, fault: None, watch }
    }

    /// Appends received frames to `burst` until it is full or the queue is empty; returns how many.
    ///
    /// While the pool is exhausted nothing is read: frames wait, and overflow, in the kernel's queue.
    pub fn rx_burst(&mut self, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        if self.watch.as_mut().is_some_and(Watch::is_quiet) {
            return 0;
        }
        let before = burst.len();
        let (mut frames, mut bytes) = (0, 0);
        // Bounded, since refused frames do not fill the burst.
        for _ in before..BURST_SIZE {
            let Some(received) = self.read(mem) else { break };
            frames += 1;
            bytes += received.mbuf.len();
            match judge(received, mem.pool()) {
                Ok(mbuf) => burst.push(mbuf),
                Err((mbuf, reason)) => {
                    mem.free(mbuf);
                    stats.drop_n(reason, 1);
                }
            }
        }
        if frames > 0 {
            stats.received(frames, bytes);
        }
        if let Some(watch) = &mut self.watch {
            watch.saw(frames, self.fd.as_fd());
        }
        burst.len() - before
    }

    fn read(&mut self, mem: &mut MempoolCache) -> Option<Received> {
        if self.fault.is_some() {
            return None;
        }
        match self.standing.read(self.fd.as_fd(), mem) {
            Ok(received) => received,
            Err(errno) => {
                self.note(errno);
                None
            }
        }
    }

    /// Keeps an error that will not go away.
    fn note(&mut self, errno: Errno) {
        // Short of memory or interrupted: the next turn tries again.
        if !matches!(errno, Errno::EAGAIN | Errno::EINTR | Errno::ENOMEM | Errno::ENOBUFS) && self.fault.is_none() {
            self.fault = Some(errno.into());
        }
    }

    /// Takes the first n frames off `burst` and returns n; the rest stays in it. Frames that the kernel refuses one by
    /// one are among the n: freed, and counted by reason.
    pub fn tx_burst(&mut self, burst: &mut Burst, mem: &mut MempoolCache, stats: &PortCounters) -> usize {
        let total = burst.len();
        let mut tally = Tally { stats, frames: 0, bytes: 0 };
        let mut waiting = burst.take().into_iter();
        while let Some(mbuf) = waiting.next() {
            match self.send(mbuf, mem, &mut tally) {
                Ok(()) => {}
                Err(Stop::Full(mbuf)) => {
                    burst.push(mbuf);
                    break;
                }
                Err(Stop::Down) => {
                    stats.drop_n(DropReason::LinkDown, waiting.len() + 1);
                    waiting.by_ref().for_each(|m| mem.free(m));
                }
            }
        }
        burst.extend(waiting);
        stats.sent(tally.frames, tally.bytes);
        total - burst.len()
    }

    /// Sends one frame, in software segments if the kernel cannot take it whole.
    fn send(&mut self, mbuf: Mbuf, mem: &mut MempoolCache, tally: &mut Tally<'_>) -> Result<(), Stop> {
        let bytes = mbuf.len();
        let verdict = if self.features.covers(&mem.pool().offload(&mbuf)) {
            self.write(mbuf, mem)?
        } else {
            self.write_finished(mbuf, mem, tally)?
        };
        match verdict {
            Ok(()) => tally.add(bytes),
            Err(reason) => tally.stats.drop_n(reason, 1),
        }
        Ok(())
    }

    /// Writes one frame as it is.
    fn write(&mut self, mut mbuf: Mbuf, mem: &mut MempoolCache) -> Result<Verdict, Stop> {
        let done = match &self.fault {
            None => write_frame(self.fd.as_fd(), mem.pool(), &mut mbuf),
            Some(_) => Err(Errno::EIO),
        };
        if done == Err(Errno::EAGAIN) {
            return Err(Stop::Full(mbuf));
        }
        mem.free(mbuf);
        match done {
            Ok(_) => Ok(Ok(())),
            // EIO: the interface is down, which may pass.
            Err(Errno::EIO) => Err(Stop::Down),
            Err(errno @ (Errno::EBADF | Errno::EBADFD | Errno::ENODEV | Errno::ENXIO)) => {
                self.note(errno);
                Err(Stop::Down)
            }
            Err(_) => Ok(Err(DropReason::TxError)),
        }
    }

    /// Finishes a frame in software, then writes what came of it.
    fn write_finished(&mut self, mbuf: Mbuf, mem: &mut MempoolCache, tally: &Tally<'_>) -> Result<Verdict, Stop> {
        let mut frames = Segments::new();
        match offload::finish(mem, mbuf, &mut |frame| frames.push(frame)) {
            Ok(n) => tally.finished(n),
            Err(refused) => {
                let reason = refused.reason();
                mem.free(refused.mbuf);
                return Ok(Err(reason));
            }
        }
        self.write_all(frames, mem)
    }

    /// Writes the segments of one frame until one is refused, and frees the others: a frame of which a part was not
    /// written counts as dropped.
    fn write_all(&mut self, frames: Segments, mem: &mut MempoolCache) -> Result<Verdict, Stop> {
        let mut verdict = Ok(Ok(()));
        for frame in frames {
            verdict = match verdict {
                Ok(Ok(())) => self.write(frame, mem),
                stopped => {
                    mem.free(frame);
                    stopped
                }
            };
            if let Err(Stop::Full(frame)) = verdict {
                mem.free(frame);
                verdict = Ok(Err(DropReason::TxFull));
            }
        }
        verdict
    }

    pub(super) fn held(&self) -> Held {
        Held { rx_buffers: self.standing.len() as u64, ..Held::default() }
    }

    /// The error that made this queue useless, if one has: the device is gone.
    #[must_use]
    pub fn fault(&self) -> Option<&io::Error> {
        self.fault.as_ref()
    }

    /// Readable when a frame waits.
    #[must_use]
    pub fn wait_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Called by the worker before it gives the queue away: its io_uring belongs to this thread.
    pub fn leave(&mut self) {
        if let Some(watch) = &mut self.watch {
            watch.disarm();
        }
    }

    /// Closes the queue; the chunks that stood ready go back to the pool. The device goes with its last queue.
    pub fn close(mut self, mem: &mut MempoolCache) {
        self.standing.release(mem);
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Why `tx_burst` stops.
enum Stop {
    /// No room: this frame, and those behind it, wait.
    Full(Mbuf),
    /// The interface is down or gone; the frame was freed.
    Down,
}

/// What became of a frame: written, or freed for a reason.
type Verdict = Result<(), DropReason>;

/// What a GSO frame was cut into.
type Segments = ArrayVec<Mbuf, { gso::MAX_SEGMENTS }>;

/// What went out in one burst.
struct Tally<'a> {
    stats: &'a PortCounters,
    frames: usize,
    bytes: usize,
}

impl Tally<'_> {
    fn add(&mut self, bytes: usize) {
        self.frames += 1;
        self.bytes += bytes;
    }

    /// Counts `n` frames that came of one in software.
    fn finished(&self, n: usize) {
        self.stats.tx_checksums.add(n as u64);
        if n > 1 {
            self.stats.tx_segments.add(n as u64);
        }
    }
}

/// Checks what came in; the frame with its offload state, or the reason to drop it.
fn judge(received: Received, pool: &Mempool) -> Result<Mbuf, (Mbuf, DropReason)> {
    let Received { mut mbuf, hdr, truncated } = received;
    if truncated {
        return Err((mbuf, DropReason::Truncated));
    }
    if mbuf.len() < MIN_FRAME {
        return Err((mbuf, DropReason::Runt));
    }
    match vnet::parse(&hdr, pool.data(&mbuf), mbuf.len()) {
        Ok(mut state) => {
            // Written by the kernel, which may be believed.
            state.data_valid = vnet::data_valid(&hdr);
            pool.set_offload(&mut mbuf, state);
            Ok(mbuf)
        }
        Err(_) => Err((mbuf, DropReason::BadOffload)),
    }
}

/// One frame, its header in front, in one system call. `mbuf` is unchanged afterwards.
fn write_frame(fd: BorrowedFd<'_>, pool: &Mempool, mbuf: &mut Mbuf) -> nix::Result<usize> {
    #[allow(clippy::cast_possible_truncation, reason = "12 fits")]
    const LEN: u16 = vnet::LEN as u16;
    let hdr = vnet::build(&pool.offload(mbuf), 0);
    let Some(first) = pool.prepend(mbuf, LEN) else { return sys::write_parts(fd, pool, mbuf, &hdr) };
    first[..vnet::LEN].copy_from_slice(&hdr);
    let done = if mbuf.segments() == 1 {
        nix::unistd::write(fd, pool.data(mbuf))
    } else {
        sys::write_parts(fd, pool, mbuf, &[])
    };
    pool.trim_front(mbuf, LEN);
    done
}

#[cfg(test)]
mod tests;
