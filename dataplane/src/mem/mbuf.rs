//! The mbuf: a 16-byte token that owns one frame.
//!
//! A frame lives in one chunk of the arena or in a chain of chunks. Whoever holds the token owns the chunks and
//! their metadata; nobody else may look at them. So a token is neither `Clone` nor `Copy`: it moves from port to
//! switch to port, and ends in [`MempoolCache::free`](super::MempoolCache::free) or with the kernel
//! ([`Owner::lend`](super::Owner::lend)). A debug build panics when a token is dropped instead: that frame would
//! be lost to the pool.

/// What generic segmentation offload has left undone (VIRTIO_NET_HDR_GSO_* in virtio_net.h).
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

/// Work on the frame that its sender left to the hardware: the facts of a virtio_net_hdr
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
    /// The kind of segmentation left undone.
    pub gso: Gso,
    /// The transport checksum holds the pseudo-header sum only.
    pub needs_csum: bool,
    /// TCP with ECN: CWR belongs on the first segment only.
    pub ecn: bool,
    /// The kernel has verified the checksum (VIRTIO_NET_HDR_F_DATA_VALID).
    pub data_valid: bool,
}

impl Offload {
    /// Nothing left undone.
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
/// Invariant M1: for each chunk there is at most one `Mbuf` that reaches it, or it is free, or it is lent to one
/// [`Owner`](super::Owner). Tokens are made in `mempool.rs` only.
#[must_use = "a dropped mbuf is a leaked frame: free it or send it"]
#[repr(C)]
pub struct Mbuf {
    /// Index of the first chunk.
    pub(super) chunk: u32,
    /// Bytes of the frame, all chunks together.
    pub(super) len: u32,
    /// Where the frame begins in its first chunk.
    pub(super) off: u16,
    /// Bytes of it in the first chunk.
    pub(super) seg_len: u16,
    /// The pool this came from: a token is worthless elsewhere.
    pub(super) pool: u16,
    /// Number of chunks.
    pub(super) segs: u8,
    /// Whether the side array holds an [`Offload`] for this frame.
    pub(super) offloaded: bool,
}

const _: () = assert!(size_of::<Mbuf>() == 16);

impl Mbuf {
    /// Bytes of the frame, all segments together.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "the length of a frame, not of a collection")]
    pub fn len(&self) -> usize {
        self.len as usize
    }

    /// Number of chunks the frame lies in, at least 1.
    #[must_use]
    pub fn segments(&self) -> usize {
        usize::from(self.segs)
    }

    /// Whether work was left to the hardware; see [`Mempool::offload`](super::Mempool::offload).
    #[must_use]
    pub fn is_offloaded(&self) -> bool {
        self.offloaded
    }
}

impl std::fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mbuf(chunk {}+{}, {} bytes in {})", self.chunk, self.off, self.len, self.segs)
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
