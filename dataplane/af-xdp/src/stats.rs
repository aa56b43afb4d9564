//! What the kernel dropped or refused on a socket.

/// `struct xdp_statistics` (Linux `include/uapi/linux/if_xdp.h`), counted since the socket was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Received frames dropped for other reasons than the ones below.
    pub rx_dropped: u64,
    /// Fill ring entries that name no frame of the UMEM.
    pub rx_invalid_descs: u64,
    /// TX descriptors that name no frame of the UMEM, are empty, have unknown options, or lack the room for registered TX
    /// metadata below them. They are skipped, not transmitted. Do not rely on their completion.
    pub tx_invalid_descs: u64,
    /// Received frames dropped because the RX ring was full.
    pub rx_ring_full: u64,
    /// Times a frame could not be received because the fill ring was empty.
    pub rx_fill_ring_empty_descs: u64,
    /// Times the kernel looked at an empty TX ring.
    pub tx_ring_empty_descs: u64,
}

impl From<libc::xdp_statistics> for Statistics {
    fn from(raw: libc::xdp_statistics) -> Self {
        Statistics {
            rx_dropped: raw.rx_dropped,
            rx_invalid_descs: raw.rx_invalid_descs,
            tx_invalid_descs: raw.tx_invalid_descs,
            rx_ring_full: raw.rx_ring_full,
            rx_fill_ring_empty_descs: raw.rx_fill_ring_empty_descs,
            tx_ring_empty_descs: raw.tx_ring_empty_descs,
        }
    }
}
