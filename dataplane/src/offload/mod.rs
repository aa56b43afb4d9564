//! Checksum and segmentation offloads in software: pure functions on frames, no I/O.
//!
//! The kernel behind a TAP, and a guest, send frames with partial checksums and up to 64 KiB of TCP payload. The mbuf carries
//! these pending offloads as [`Offload`]. A port whose other side supports them passes them on ([`vnet`], AF_XDP
//! metadata); any other port calls [`finish`].
//!
//! Called by the worker that owns the frame. Headers are not trusted: every access is checked, and no input makes one of
//! these functions panic ([`exercise`] is what the fuzzer calls).

pub mod csum;
pub mod detect;
pub mod gso;
pub mod parse;
pub mod vnet;

use crate::mem::{Gso, Mbuf, MempoolCache, Offload};
use crate::stats::DropReason;
use std::fmt;
use std::sync::Arc;

pub use gso::GsoError;

/// An offload header that contradicts its frame; counted as [`DropReason::BadOffload`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadOffload {
    /// The checksum would lie outside the frame, or in its Ethernet header or VLAN tags: completing it would change
    /// where the frame belongs after the switch has decided.
    #[error("checksum at {at} of a frame of {len} bytes")]
    ChecksumOutside {
        /// First byte of the checksum field.
        at: usize,
        /// Bytes of the frame.
        len: usize,
    },
    /// Not a supported GSO type (such as the old UFO).
    #[error("gso_type {0:#x} is unknown")]
    GsoType(u8),
    /// 0, or not smaller than the frame.
    #[error("gso_size {size} for a frame of {len} bytes")]
    GsoSize {
        /// Payload bytes per segment, as claimed.
        size: u16,
        /// Bytes of the frame.
        len: usize,
    },
    /// Headers longer than the frame.
    #[error("headers of {hdr_len} bytes in a frame of {len} bytes")]
    HeaderLength {
        /// Bytes of headers, claimed or found.
        hdr_len: usize,
        /// Bytes of the frame.
        len: usize,
    },
    /// Segments need checksums of their own, so GSO implies a partial checksum.
    #[error("GSO without a checksum to complete")]
    GsoWithoutChecksum,
    /// The GSO type, ECN bit or checksum position is not that of the frame's protocol.
    #[error("GSO type contradicts the headers of the frame")]
    WrongProtocol,
}

/// The offloads that the other side of a port supports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names of the offloads")]
pub struct Features {
    pub csum: bool,
    pub tso4: bool,
    pub tso6: bool,
    pub ecn: bool,
    pub uso: bool,
}

impl Features {
    /// Everything that an [`Offload`] can contain.
    pub const ALL: Self = Self { csum: true, tso4: true, tso6: true, ecn: true, uso: true };

    /// Whether the other side can finish the frame.
    #[must_use]
    pub fn covers(&self, offload: &Offload) -> bool {
        let gso = match offload.gso {
            Gso::None => true,
            Gso::Tcp4 => self.tso4,
            Gso::Tcp6 => self.tso6,
            Gso::Udp => self.uso,
        };
        gso && (self.csum || !offload.needs_csum) && (self.ecn || !offload.ecn)
    }
}

impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [(self.csum, "csum"), (self.tso4, "tso4"), (self.tso6, "tso6"), (self.ecn, "ecn"), (self.uso, "uso")];
        let names: arrayvec::ArrayVec<&str, 5> = all.iter().filter(|(on, _)| *on).map(|(_, name)| *name).collect();
        if names.is_empty() { f.write_str("none") } else { f.write_str(&names.join(",")) }
    }
}

/// A frame that could not be finished; it is the caller's again, unchanged.
#[derive(Debug)]
pub struct Refused {
    /// The frame.
    pub mbuf: Mbuf,
    /// Why.
    pub error: GsoError,
}

impl Refused {
    /// The reason to count it under.
    #[must_use]
    pub fn reason(&self) -> DropReason {
        self.error.reason()
    }
}

/// Does all pending offloads of `mbuf` in software: cuts it into segments, completes checksums. The frames handed to
/// `out` need no offload. Returns how many.
///
/// # Errors
/// [`Refused`] with the frame when its offload state is invalid or the pool is exhausted; nothing was handed out
/// then.
pub fn finish(mem: &mut MempoolCache, mut mbuf: Mbuf, out: &mut impl FnMut(Mbuf)) -> Result<usize, Refused> {
    if mem.pool().offload(&mbuf).gso == Gso::None {
        return match csum::complete(mem.pool(), &mut mbuf) {
            Ok(()) => {
                out(mbuf);
                Ok(1)
            }
            Err(bad) => Err(Refused { mbuf, error: bad.into() }),
        };
    }
    let pool = Arc::clone(mem.pool());
    let done = gso::segment(mem, &mbuf, &mut |mut segment| {
        // Cannot fail: `segment` has checked where the checksum lies.
        let _ = csum::complete(&pool, &mut segment);
        out(segment);
    });
    match done {
        Ok(n) => {
            mem.free(mbuf);
            Ok(n)
        }
        Err(error) => Err(Refused { mbuf, error }),
    }
}

/// Sends arbitrary bytes through validation, segmentation and completion: the entry point of the fuzzer and of the
/// property tests. Returns the frames that came out, `None` if the header or the frame was refused.
pub fn exercise(mem: &mut MempoolCache, vnet_hdr: &[u8], frame: &[u8]) -> Option<Vec<Vec<u8>>> {
    let hdr = vnet_hdr.first_chunk()?;
    let mut mbuf = mem.alloc_from(frame)?;
    let parsed = vnet::parse(hdr, mem.pool().data(&mbuf), frame.len());
    mem.pool().set_offload(&mut mbuf, parsed.unwrap_or_default());
    let mut frames = Vec::new();
    let done = match parsed {
        Ok(_) => finish(mem, mbuf, &mut |m| frames.push(m)).map_err(|refused| refused.mbuf),
        Err(_) => Err(mbuf),
    };
    let bytes = frames.iter().map(|m| mem.pool().segments(m).flatten().copied().collect()).collect();
    frames.drain(..).for_each(|m| mem.free(m));
    done.map(|_| bytes).map_err(|mbuf| mem.free(mbuf)).ok()
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
