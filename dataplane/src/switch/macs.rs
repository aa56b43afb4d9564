//! Tables by MAC address that control makes and workers read. Their keys are the operator's, not the traffic's, so a
//! plain hash will do.

use crate::eth::MacAddr;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// By address, as [`MacAddr::to_u64`].
pub(super) type Macs<V> = HashMap<u64, V, BuildHasherDefault<MacHasher>>;

/// A set of addresses.
pub(super) fn set<'a>(macs: impl IntoIterator<Item = &'a MacAddr>) -> Macs<()> {
    macs.into_iter().map(|mac| (mac.to_u64(), ())).collect()
}

/// Multiplies by an odd number and folds (Fibonacci hashing).
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct MacHasher(u64);

impl Hasher for MacHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
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
}
