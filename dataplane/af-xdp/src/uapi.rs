//! Kernel structs and constants that `libc` lacks, and [`Desc`], the one struct users meet.
//!
//! Source of all of it: Linux `include/uapi/linux/if_xdp.h`.

/// One frame (or one piece of a long frame) on an RX or TX ring: `struct xdp_desc`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Desc {
    /// Where the data starts, as an offset from the start of the UMEM.
    pub addr: u64,
    /// Bytes of data.
    pub len: u32,
    /// [`OPTION_CONTD`], [`OPTION_TX_METADATA`].
    pub options: u32,
}

/// `XDP_PKT_CONTD`: the frame goes on in the next descriptor.
pub const OPTION_CONTD: u32 = libc::XDP_PKT_CONTD;

/// `XDP_TX_METADATA`: the bytes right below `addr` hold a TX request (see [`crate::tx_metadata`]).
pub const OPTION_TX_METADATA: u32 = libc::XDP_TX_METADATA;

/// Longest chain of descriptors the kernel accepts for one frame: `MAX_SKB_FRAGS`, by default 17
/// (`include/linux/skbuff.h`), plus the head (`net/xdp/xsk.c`, `xsk_build_skb`).
pub const MAX_FRAGS: u32 = 18;

/// `XDP_MAX_TX_SKB_BUDGET`: frames one send call may take in copy mode. Since Linux 6.17.
pub(crate) const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// `XDP_TXMD_FLAGS_CHECKSUM`, as wide as the field it goes into.
pub(crate) const TXMD_FLAGS_CHECKSUM: u64 = 2;

const _: () = assert!(size_of::<Desc>() == size_of::<libc::xdp_desc>());
const _: () = assert!(align_of::<Desc>() == align_of::<libc::xdp_desc>());
const _: () = assert!(TXMD_FLAGS_CHECKSUM == libc::XDP_TXMD_FLAGS_CHECKSUM as u64);
