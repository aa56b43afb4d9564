//! The frames that circulate, as the guest writes them, with their virtio_net_hdr.

/// Bytes of a virtio_net_hdr.
pub const HEADER: usize = 12;
/// Ethernet, IPv4 without options, TCP without options.
const HEADERS: u16 = 14 + 20 + 20;
/// Payload of a segment.
const MSS: u16 = 1460;

/// A length, and how many of them there are.
#[derive(Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    /// Bytes of a frame.
    pub len: usize,
    /// Frames that go round, per direction.
    pub in_flight: u16,
    /// Buffers that each port keeps ready.
    pub posted: u16,
    /// Frames of one measurement.
    pub frames: u64,
}

/// 8 bursts of 32 in flight, as in `pollux-bench vhost`; of super-frames as many as a TCP window has.
pub const SHAPES: [Shape; 3] = [
    Shape { name: "60 B", len: 60, in_flight: 256, posted: 1024, frames: 1_000_000 },
    Shape { name: "1514 B", len: 1514, in_flight: 256, posted: 1024, frames: 500_000 },
    Shape { name: "TSO, 65 226 B", len: 65_226, in_flight: 32, posted: 64, frames: 20_000 },
];

impl Shape {
    /// Bytes of a buffer: a line in front for the header, whole lines, and as odd a number of them as in a DPDK pool, so
    /// that buffers do not all begin in the same set of a cache.
    pub fn stride(&self) -> usize {
        (((128 + self.len.max(2048)) / 64) | 1) * 64 + 128
    }

    fn is_super(&self) -> bool {
        self.len > 1514
    }

    /// The virtio_net_hdr: nothing, or TCP over IPv4 to be cut and summed.
    pub fn header(&self) -> (u32, u64) {
        if !self.is_super() {
            return (0, 0);
        }
        let (needs_csum, tcp4) = (1, 1 << 8);
        let (csum_start, csum_offset) = (34 << 16, 16 << 32);
        (needs_csum | tcp4 | u32::from(HEADERS) << 16, u64::from(MSS) | csum_start | csum_offset)
    }

    /// The headers of a frame from `port` to the other.
    pub fn start(&self, port: u8) -> Vec<u8> {
        let mut bytes = [2, 0, 0, 0, 0, 1 - port, 2, 0, 0, 0, 0, port].to_vec();
        if !self.is_super() {
            bytes.extend([0x88, 0xb5]);
            return bytes;
        }
        let [hi, lo] = u16::try_from(self.len - 14).unwrap().to_be_bytes();
        bytes.extend([8, 0, 0x45, 0, hi, lo, 0, 0, 0, 0, 64, 6, 0, 0, 10, 0, 0, port, 10, 0, 0, 1 - port]);
        bytes.extend([0, 80, 0, 80, 0, 0, 0, 1, 0, 0, 0, 1, 5 << 4, 0x10, 255, 255, 0, 0, 0, 0]);
        bytes
    }
}
