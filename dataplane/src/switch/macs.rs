//! Tables by address that control makes and workers read for each frame: the hash is a multiplication. MAC addresses in
//! them are the operator's, so a plain hash will do; multicast groups are of the hosts' choice, and their hash is
//! [`Seeded`].

use crate::eth::MacAddr;
use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, Hasher, RandomState};

/// By address, as [`MacAddr::to_u64`].
pub(super) type Macs<V> = HashMap<u64, V, BuildHasherDefault<MacHasher>>;

/// Makes hashers that start from one random seed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seeded(u64);

impl Default for Seeded {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Seeded {
    type Hasher = MacHasher;

    fn build_hasher(&self) -> MacHasher {
        MacHasher(self.0)
    }
}

/// A set of addresses.
pub(super) fn set<'a>(macs: impl IntoIterator<Item = &'a MacAddr>) -> Macs<()> {
    macs.into_iter().map(|mac| (mac.to_u64(), ())).collect()
}

/// Multiplies by an odd number and folds (Fibonacci hashing).
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct MacHasher(u64);

impl Hasher for MacHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_ne_bytes(word));
        }
    }

    fn write_u8(&mut self, n: u8) {
        self.write_u64(u64::from(n));
    }

    fn write_u16(&mut self, n: u16) {
        self.write_u64(u64::from(n));
    }

    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }

    fn write_u64(&mut self, n: u64) {
        let x = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = x ^ x >> 32;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_told_apart_and_spread() {
        let macs: Vec<MacAddr> = (0..4096).map(|n| MacAddr::from_u64(0x0200_0000_0000 + n)).collect();
        let set = set(&macs);
        assert!(macs.iter().all(|mac| set.contains_key(&mac.to_u64())) && set.len() == macs.len());
        assert!(!set.contains_key(&0x0200_0000_1000));
        // hashbrown takes the group from the low bits and the tag from the high ones
        let hash = |n: u64| {
            let mut hasher = MacHasher::default();
            hasher.write_u64(n);
            hasher.finish()
        };
        for bits in [0..10, 54..64] {
            let used: std::collections::HashSet<_> =
                (0..4096).map(|n| hash(0x0200_0000_0000 + n) >> bits.start & 0x3ff).collect();
            assert!(used.len() > 900, "{} of 1024 in bits {bits:?}", used.len());
        }
    }

    #[test]
    fn groups_are_told_apart_and_spread_otherwise_each_time() {
        use std::net::IpAddr;
        let groups: Vec<(u16, IpAddr)> =
            (0..4096u16).map(|n| (7, IpAddr::from([239, 1, n.to_be_bytes()[0], n.to_be_bytes()[1]]))).collect();
        let hashes = |seed: Seeded| groups.iter().map(|group| seed.hash_one(group)).collect::<Vec<u64>>();
        let (one, other) = (hashes(Seeded::default()), hashes(Seeded::default()));
        assert_ne!(one, other);
        for bits in [0, 54] {
            let used: std::collections::HashSet<_> = one.iter().map(|hash| hash >> bits & 0x3ff).collect();
            assert!(used.len() > 900, "{} of 1024 from bit {bits}", used.len());
        }
    }
}
