//! The mbuf: a 16-byte token that owns one frame.
//!
//! A frame lies in one chunk of the arena or in a chain of chunks. The token owns the chunks and their metadata
//! exclusively, so it is neither `Clone` nor `Copy`: it moves from port to switch to port, and ends in
//! [`MempoolCache::free`](super::MempoolCache::free) or is lent to the kernel ([`Owner::lend`](super::Owner::lend)). A
//! debug build panics when a token is dropped instead: that frame would be lost to the pool.

use std::num::{NonZeroU16, NonZeroU64};

/// Pending generic segmentation offload (VIRTIO_NET_HDR_GSO_* in virtio_net.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gso {
    /// One ordinary frame.
    #[default]
    None,
    /// A TCP segment over IPv4, longer than the MTU.
    Tcp4,
    /// A TCP segment over IPv6, longer than the MTU.
    Tcp6,
    /// Several UDP datagrams of one flow (USO).
    Udp,
}

/// Offloads pending on the frame, which its sender left to the hardware: the fields of a virtio_net_hdr
/// (virtio 1.2 §5.1.6). Offsets count from the start of the frame, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offload {
    /// Where the checksum of the transport header begins; meaningful if `needs_csum`.
    pub csum_start: u16,
    /// Where to put it, from `csum_start`.
    pub csum_offset: u16,
    /// Payload bytes per segment if `gso` is not `None`.
    pub gso_size: u16,
    /// Bytes of all headers if `gso` is not `None`.
    pub hdr_len: u16,
    /// The kind of pending segmentation.
    pub gso: Gso,
    /// The transport checksum holds the pseudo-header sum only.
    pub needs_csum: bool,
    /// TCP with ECN: CWR belongs on the first segment only.
    pub ecn: bool,
    /// The kernel has verified the checksum (VIRTIO_NET_HDR_F_DATA_VALID).
    pub data_valid: bool,
}

impl Offload {
    /// No offload is pending.
    pub const NONE: Self = Self {
        csum_start: 0,
        csum_offset: 0,
        gso_size: 0,
        hdr_len: 0,
        gso: Gso::None,
        needs_csum: false,
        ecn: false,
        data_valid: false,
    };
}

/// No next chunk.
pub(super) const NO_CHUNK: u32 = u32::MAX;

/// The token of one frame.
///
/// Two words, not a struct of small fields, so that it is passed in registers. Small fields, written one by one and moved as
/// a whole, would cost 13 cycles per move: a load that spans several stores is not forwarded.
///
/// Invariant M1: for each chunk there is at most one `Mbuf` that reaches it, or it is free, or it is lent to one
/// [`Owner`](super::Owner). Tokens are made in `mempool.rs` only.
#[must_use = "a dropped mbuf is a leaked frame: free it or send it"]
#[repr(C)]
pub struct Mbuf {
    /// Index of the first chunk; above it, from bit 32, bytes of the frame, all chunks together.
    frame: u64,
    /// [`SegmentLayout`], packed. Never 0, as no pool has the number 0: so `Option<Mbuf>` is two words as well.
    place: NonZeroU64,
}

const _: () = assert!(size_of::<Mbuf>() == 16 && size_of::<Option<Mbuf>>() == 16);

/// What a token says besides chunk and length.
#[derive(Debug, Clone, Copy)]
pub(super) struct SegmentLayout {
    /// Where the frame begins in its first chunk.
    pub(super) off: u16,
    /// Bytes of it in the first chunk.
    pub(super) seg_len: u16,
    /// The pool it came from; it is valid in no other.
    pub(super) pool: NonZeroU16,
    /// Number of chunks.
    pub(super) segs: u8,
    /// Whether the side array holds an [`Offload`] for this frame.
    pub(super) offloaded: bool,
}

impl SegmentLayout {
    #[inline(always)]
    fn pack(self) -> NonZeroU64 {
        let place = u64::from(self.off) << 16 | u64::from(self.seg_len) << 32;
        let kind = u64::from(self.segs) << 48 | u64::from(self.offloaded) << 56;
        NonZeroU64::from(self.pool) | place | kind
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "takes the word apart")]
    fn unpack(word: NonZeroU64) -> Self {
        let word = word.get();
        // `pack` put a number there that is not 0.
        let pool = NonZeroU16::new(word as u16).unwrap_or(NonZeroU16::MAX);
        let (segs, offloaded) = ((word >> 48) as u8, word >> 56 != 0);
        Self { off: (word >> 16) as u16, seg_len: (word >> 32) as u16, pool, segs, offloaded }
    }
}

impl Mbuf {
    /// The caller guarantees M1.
    #[inline(always)]
    pub(super) fn new(chunk: u32, len: u32, place: SegmentLayout) -> Self {
        Self { frame: u64::from(chunk) | u64::from(len) << 32, place: place.pack() }
    }

    /// Index of the first chunk.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the low half")]
    pub(super) fn chunk(&self) -> u32 {
        self.frame as u32
    }

    #[inline(always)]
    pub(super) fn place(&self) -> SegmentLayout {
        SegmentLayout::unpack(self.place)
    }

    #[inline(always)]
    pub(super) fn pool(&self) -> NonZeroU16 {
        self.place().pool
    }

    /// Sets where the frame is and its length.
    #[inline(always)]
    pub(super) fn set(&mut self, len: u32, place: SegmentLayout) {
        self.frame = u64::from(self.chunk()) | u64::from(len) << 32;
        self.place = place.pack();
    }

    /// Bytes of the frame, all segments together.
    #[must_use]
    #[inline(always)]
    #[allow(clippy::len_without_is_empty, reason = "the length of a frame, not of a collection")]
    pub fn len(&self) -> usize {
        self.len32() as usize
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the high half")]
    pub(super) fn len32(&self) -> u32 {
        (self.frame >> 32) as u32
    }

    /// Number of chunks the frame lies in, at least 1.
    #[must_use]
    #[inline(always)]
    pub fn segments(&self) -> usize {
        usize::from(self.place().segs)
    }

    /// Whether an offload is pending; see [`Mempool::offload`](super::Mempool::offload).
    #[must_use]
    #[inline(always)]
    pub fn is_offloaded(&self) -> bool {
        self.place().offloaded
    }
}

impl AsRef<Self> for Mbuf {
    #[inline(always)]
    fn as_ref(&self) -> &Self {
        self
    }
}

impl std::fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mbuf(chunk {}+{}, {} bytes in {})", self.chunk(), self.place().off, self.len(), self.segments())
    }
}

#[cfg(debug_assertions)]
impl Drop for Mbuf {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("mbuf leaked: {self:?} was dropped, not freed");
        }
    }
}
