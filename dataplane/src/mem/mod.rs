//! Memory of the data path: one [`Arena`] of chunks, the [`Mempool`] that hands them out, and the [`Mbuf`]
//! token that owns a frame. The arena is also the UMEM of every AF_XDP socket.

pub mod arena;
pub mod mbuf;
pub mod mempool;
pub mod pipe;
pub mod table;

use crate::eth::{HEADER_LEN, TAG_LEN};
pub use arena::{Arena, ArenaConfig, ArenaError, Backing, Hugepages};
pub use mbuf::{Gso, Mbuf, Offload};
pub use mempool::{Mempool, MempoolCache, Owner};

/// Frames that move through the data path at a time. 32 is where batching has paid off and headers in
/// 2 KiB chunks do not yet evict each other from L1.
pub const BURST_SIZE: usize = 32;

/// A burst of frames, on the stack.
pub type Burst = arrayvec::ArrayVec<Mbuf, BURST_SIZE>;

/// Bytes of a chunk. AF_XDP allows 2048 or 4096 in aligned mode (xdp_umem_reg in net/xdp/xdp_umem.c).
pub const CHUNK_SIZE: usize = 2048;

/// Bytes in front of the data of a frame's first chunk: what XDP keeps free (XDP_PACKET_HEADROOM), so that
/// frames of every port kind look alike. TX metadata and VLAN tags go here.
pub const HEADROOM: usize = 256;

/// Most bytes of a frame that its first chunk holds.
pub const FIRST_SEGMENT: usize = CHUNK_SIZE - HEADROOM;

/// Bytes in front of the data of the chunks behind the first, in frames made here: the kernel wants room for TX metadata
/// below every descriptor (xp_aligned_validate_desc in net/xdp/xsk_queue.h), and a cache line keeps copies aligned.
/// Frames that a TAP read have none.
pub const TAILROOM: usize = 64;

/// Most bytes that each further chunk of a frame made here holds.
pub const NEXT_SEGMENT: usize = CHUNK_SIZE - TAILROOM;

/// Most bytes of a frame: an IP packet of 64 KiB, the Ethernet header and two tags.
pub const MAX_FRAME: usize = 65_535 + HEADER_LEN + 2 * TAG_LEN;

/// Chunks that a frame of `len` bytes takes when it is made here.
#[must_use]
#[inline]
pub const fn chunks_for(len: usize) -> usize {
    1 + len.saturating_sub(FIRST_SEGMENT).div_ceil(NEXT_SEGMENT)
}
