//! What a frame of a stream looks like: it follows from the stream and the frame's number alone.
//!
//! ```text
//! | destination | source | [tag] | 0x88b5 | stamp: magic, check, stream, flags, number, due, arrived | pattern ... |
//! ```
//!
//! So a sink that reads the stamp can say of every byte what it must be. The arrival is the only field that is written
//! on the way, by the sink's own XDP program. The first [`HEAD`] bytes are written anew for each frame; what follows is a
//! pattern with a period that divides every chunk, and stays in the chunk from frame to frame.

/// A MAC address.
pub type Mac = [u8; 6];

/// Bytes of a frame that are its own; no frame is shorter than this less 4.
pub const HEAD: usize = 64;
/// Frame check sequence: counted in sizes, not there in frames.
pub const FCS: u16 = 4;
/// Longest frame, FCS included.
pub const LONGEST: u16 = 9216;
/// "Local experimental 1": no stack answers it.
const ETHERTYPE: [u8; 2] = [0x88, 0xb5];
const TAG: [u8; 2] = [0x81, 0x00];
const MAGIC: u32 = 0x5458_4c50;
/// Requests the time of arrival from the sink's program.
const TIMED: u16 = 1;
const STAMP: usize = 36;
/// Of the arrival within the stamp.
const ARRIVED: usize = 28;

/// The pattern, from any multiple of 256 on.
pub(crate) static PATTERN: [u8; 4096 + 256] = pattern();

#[allow(clippy::cast_possible_truncation, reason = "a pattern of bytes")]
const fn pattern() -> [u8; 4096 + 256] {
    let mut bytes = [0; 4096 + 256];
    let mut at = 0;
    while at < bytes.len() {
        bytes[at] = (at as u8) ^ 0x5a;
        at += 1;
    }
    bytes
}

/// Addresses used in turn: frame `n` has number `n % count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Macs {
    first: Mac,
    count: u32,
    scattered: bool,
}

impl Macs {
    /// Always the same.
    pub fn one(mac: Mac) -> Self {
        Self { first: mac, count: 1, scattered: false }
    }

    /// `count` addresses that begin with the first two bytes of `first` and count up in the last four.
    ///
    /// # Panics
    /// If `count` is 0.
    pub fn many(first: Mac, count: u32) -> Self {
        assert!(count > 0, "a stream needs an address");
        Self { first, count, scattered: false }
    }

    /// As many, all different, in an order that misses caches: the last four bytes are multiplied by an odd number.
    #[must_use]
    pub fn scattered(self) -> Self {
        Self { scattered: true, ..self }
    }

    /// How many.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// That of frame `number`.
    #[allow(clippy::cast_possible_truncation, reason = "less than the count")]
    pub fn of(&self, number: u64) -> Mac {
        let index = (number % u64::from(self.count)) as u32;
        let index = if self.scattered { index.wrapping_mul(0x9e37_79b1) } else { index };
        let mut mac = self.first;
        let low = u32::from_be_bytes([mac[2], mac[3], mac[4], mac[5]]).wrapping_add(index);
        mac[2..].copy_from_slice(&low.to_be_bytes());
        mac
    }
}

/// Lengths in bytes with FCS, as standards count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// All the same.
    Fixed(u16),
    /// 7 of 64, 4 of 570 and 1 of 1518 bytes, mixed.
    Imix,
}

/// One round of [`Sizes::Imix`].
const IMIX: [u16; 12] = [64, 570, 64, 64, 570, 64, 1518, 64, 570, 64, 64, 570];

impl Sizes {
    /// Of frame `number`.
    #[allow(clippy::cast_possible_truncation, reason = "less than 12")]
    pub fn of(self, number: u64) -> u16 {
        match self {
            Self::Fixed(size) => size,
            Self::Imix => IMIX[(number % IMIX.len() as u64) as usize],
        }
    }

    /// The longest.
    pub fn longest(self) -> u16 {
        match self {
            Self::Fixed(size) => size,
            Self::Imix => 1518,
        }
    }

    /// The mean, in bytes with FCS.
    pub fn mean(self) -> f64 {
        match self {
            Self::Fixed(size) => f64::from(size),
            Self::Imix => IMIX.iter().map(|size| f64::from(*size)).sum::<f64>() / IMIX.len() as f64,
        }
    }
}

/// What all frames of a stream have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stream {
    /// Tells streams of a trial apart.
    pub id: u16,
    /// Destinations.
    pub to: Macs,
    /// Sources.
    pub from: Macs,
    /// VLAN id of the tag frames are sent with, and must arrive with.
    pub vlan: Option<u16>,
    /// Lengths.
    pub sizes: Sizes,
    /// Whether the sink's program takes the time of arrival; it costs some 20 ns on the core that delivers.
    pub timed: bool,
}

impl Stream {
    /// Untagged frames of one size from one address to another.
    pub fn new(id: u16, from: Mac, to: Mac, sizes: Sizes) -> Self {
        let (from, to) = (Macs::one(from), Macs::one(to));
        Self { id, to, from, vlan: None, sizes, timed: false }
    }

    /// Bytes of frame `number` without FCS.
    pub fn len(&self, number: u64) -> usize {
        usize::from(self.sizes.of(number) - FCS).max(HEAD - usize::from(FCS))
    }

    /// The first bytes of frame `number`, to be sent at `due`.
    pub fn head(&self, number: u64, due: u64) -> [u8; HEAD] {
        let mut head = [0; HEAD];
        head.copy_from_slice(&PATTERN[..HEAD]);
        head[..6].copy_from_slice(&self.to.of(number));
        head[6..12].copy_from_slice(&self.from.of(number));
        let at = match self.vlan {
            None => 12,
            Some(vlan) => {
                head[12..14].copy_from_slice(&TAG);
                head[14..16].copy_from_slice(&vlan.to_be_bytes());
                16
            }
        };
        head[at..at + 2].copy_from_slice(&ETHERTYPE);
        let flags = if self.timed { TIMED } else { 0 };
        Stamp { stream: self.id, flags, number, due, arrived: 0 }.write(&mut head[at + 2..at + 2 + STAMP]);
        head
    }

    /// Whether these are the first bytes frame `stamp.number` must arrive with.
    pub(crate) fn is_head(&self, stamp: &Stamp, bytes: &[u8]) -> bool {
        let mut expected = self.head(stamp.number, stamp.due);
        let arrived = if self.vlan.is_some() { 18 } else { 14 } + ARRIVED;
        expected[arrived..arrived + 8].copy_from_slice(&stamp.arrived.to_le_bytes());
        let n = bytes.len().min(HEAD);
        bytes[..n] == expected[..n]
    }
}

/// The stamp of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Its stream.
    pub stream: u16,
    flags: u16,
    /// Its number in the stream, from 0.
    pub number: u64,
    /// When it was to be sent, by [`now`](crate::clock::now).
    pub due: u64,
    /// When the sink's program saw it; 0 if the frame carries no request for it.
    pub arrived: u64,
}

impl Stamp {
    /// Of a frame without FCS; `None` if it is not one of ours.
    pub fn read(frame: &[u8]) -> Option<Self> {
        let at = match *frame.get(12..14)?.first_chunk()? {
            ETHERTYPE => 14,
            TAG if frame.get(16..18)? == ETHERTYPE => 18,
            _ => return None,
        };
        let bytes: &[u8; STAMP] = frame.get(at..)?.first_chunk()?;
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        let u64_at = |at: usize| bytes[at..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        let stamp = Self {
            stream: u16_at(8),
            flags: u16_at(10),
            number: u64_at(12),
            due: u64_at(20),
            arrived: u64_at(ARRIVED),
        };
        let word = |at: usize| bytes[at..].first_chunk().map_or(0, |b| u32::from_le_bytes(*b));
        (word(0) == MAGIC && word(4) == stamp.check()).then_some(stamp)
    }

    fn write(&self, bytes: &mut [u8]) {
        bytes[..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.check().to_le_bytes());
        bytes[8..10].copy_from_slice(&self.stream.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.flags.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.number.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.due.to_le_bytes());
        bytes[ARRIVED..STAMP].copy_from_slice(&self.arrived.to_le_bytes());
    }

    /// Of all fields but the arrival, which is written on the way.
    #[allow(clippy::cast_possible_truncation, reason = "the upper half of a product")]
    fn check(&self) -> u32 {
        let mut word = u64::from(self.stream) << 16 | u64::from(self.flags);
        for field in [self.number, self.due] {
            word = (word ^ field).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            word ^= word >> 29;
        }
        (word >> 32) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Mac = [2, 0, 0, 0, 0x0a, 1];
    const B: Mac = [2, 0, 0, 0, 0x0b, 1];

    fn stream() -> Stream {
        Stream::new(7, A, B, Sizes::Fixed(64))
    }

    #[test]
    fn a_stamp_comes_out_as_it_went_in() {
        let head = stream().head(1 << 40, 99);
        assert_eq!((&head[..6], &head[6..12]), (&B[..], &A[..]));
        let stamp = Stamp::read(&head[..60]).unwrap();
        assert_eq!((stamp.stream, stamp.number, stamp.due, stamp.arrived), (7, 1 << 40, 99, 0));
        assert!(stream().is_head(&stamp, &head[..60]));
    }

    #[test]
    fn a_tag_moves_the_stamp() {
        let stream = Stream { vlan: Some(10), ..stream() };
        let head = stream.head(3, 4);
        assert_eq!(head[12..16], [0x81, 0, 0, 10]);
        let stamp = Stamp::read(&head).unwrap();
        assert_eq!(stamp.number, 3);
        assert!(stream.is_head(&stamp, &head));
        let untagged = Stream { vlan: None, ..stream };
        assert!(!untagged.is_head(&stamp, &head), "the tag should not be there");
    }

    #[test]
    fn the_arrival_may_be_written_on_the_way_and_nothing_else() {
        let stream = Stream { timed: true, ..stream() };
        let mut head = stream.head(5, 6);
        head[14 + ARRIVED] = 1;
        let stamp = Stamp::read(&head).unwrap();
        assert_eq!(stamp.arrived, 1);
        assert!(stream.is_head(&stamp, &head));
        for at in (0..HEAD).filter(|at| !(14 + ARRIVED..14 + STAMP).contains(at)) {
            let mut bad = head;
            bad[at] ^= 1;
            let noticed = Stamp::read(&bad).is_none_or(|stamp| !stream.is_head(&stamp, &bad));
            assert!(noticed, "byte {at}");
        }
    }

    #[test]
    fn frames_of_others_are_none_of_ours() {
        assert_eq!(Stamp::read(&[]), None);
        assert_eq!(Stamp::read(&[0; 13]), None);
        assert_eq!(Stamp::read(&[0; 64]), None);
        assert_eq!(Stamp::read(&stream().head(0, 0)[..40]), None);
    }

    #[test]
    fn addresses_are_used_in_turn() {
        let macs = Macs::many([2, 0, 0, 0, 0, 0xff], 3);
        let seen: Vec<u8> = (0..4).map(|n| macs.of(n)[5]).collect();
        assert_eq!(seen, [0xff, 0, 1, 0xff]);
        assert_eq!(macs.of(1)[4], 1);
    }

    #[test]
    fn scattered_addresses_are_all_different() {
        let macs = Macs::many([2, 7, 0, 0, 0, 0], 10_000).scattered();
        let seen: std::collections::BTreeSet<Mac> = (0..10_000).map(|n| macs.of(n)).collect();
        assert_eq!(seen.len(), 10_000);
        assert!(seen.iter().all(|mac| mac[..2] == [2, 7]));
    }

    #[test]
    fn imix_is_seven_four_one() {
        let sizes: Vec<u16> = (0..24).map(|n| Sizes::Imix.of(n)).collect();
        let count = |size| sizes.iter().filter(|s| **s == size).count();
        assert_eq!((count(64), count(570), count(1518)), (14, 8, 2));
        assert!((Sizes::Imix.mean() - 353.8).abs() < 0.1);
    }

    #[test]
    fn no_frame_is_shorter_than_ethernet_allows() {
        assert_eq!(Stream::new(0, A, B, Sizes::Fixed(64)).len(0), 60);
        assert_eq!(Stream::new(0, A, B, Sizes::Fixed(1518)).len(0), 1514);
    }
}
