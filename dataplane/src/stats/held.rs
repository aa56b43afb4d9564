//! Who holds the chunks of the pool that are not free.

/// Chunks that a queue holds, by cause.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Empty frames that an AF_XDP queue has given the kernel to receive into, and those received that wait to be read.
    pub fill_ring: u64,
    /// Frames that an AF_XDP queue has given the kernel to transmit, and that are not completed.
    pub tx_ring: u64,
    /// The buffers that a TAP queue reads into.
    pub rx_buffers: u64,
    /// Frames sent to a ring port that its peer has not taken yet.
    pub cable: u64,
}

impl Held {
    /// All causes together.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.fill_ring + self.tx_ring + self.rx_buffers + self.cable
    }

    /// Adds what another queue holds.
    pub const fn add(&mut self, other: &Self) {
        self.fill_ring += other.fill_ring;
        self.tx_ring += other.tx_ring;
        self.rx_buffers += other.rx_buffers;
        self.cable += other.cable;
    }
}
