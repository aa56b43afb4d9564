//! Where a key lives: a seeded bijection turns (filtering id, MAC) into a bucket number and 48 bits that stay.
//!
//! A key has 61 bits: the MAC (48) and the filtering id (13). [`Seed::hash`] permutes them at random; the low bits
//! of the result choose the primary bucket, the rest, at most 48 bits because there are at least 2^13 buckets, is the
//! *remainder* that the entry stores. Bucket and remainder give the key back ([`Seed::unhash`]), so an entry needs no
//! more room than that, and comparing remainders is comparing keys: there are no false matches.
//!
//! The seeds are random, so nobody can compute addresses that meet in one bucket.

use crate::eth::MacAddr;
use std::hash::{BuildHasher, RandomState};

/// Bits of a filtering id in a key; a model check makes do with one, for a table of two buckets.
const FID_BITS: u32 = if cfg!(all(test, loom)) { 1 } else { 13 };
const _: () = assert!(Fid::COUNT == 1 << FID_BITS || cfg!(all(test, loom)), "a key holds every filtering id");
/// Bits of a key.
const KEY_BITS: u32 = MAC_BITS + FID_BITS;
const MAC_BITS: u32 = 48;
const KEY_MASK: u64 = (1 << KEY_BITS) - 1;
const MAC_MASK: u64 = (1 << MAC_BITS) - 1;
/// At least half the key's width, so that one xorshift undoes another.
const SHIFT: u32 = KEY_BITS.div_ceil(2);

/// Fewest bucket bits for which the remainder fits into 48 bits.
pub(super) const MIN_BUCKET_BITS: u32 = FID_BITS;
/// Most bucket bits; keeps the slot number in 32 bits.
pub(super) const MAX_BUCKET_BITS: u32 = 28;

/// A filtering id: the scope in which a MAC address names one station (a domain, or one VLAN of it).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fid(u16);

impl Fid {
    /// How many filtering ids there are.
    pub const COUNT: usize = 1 << 13;

    /// The filtering id `id`, or `None` when it is not below [`Fid::COUNT`].
    #[must_use]
    pub const fn new(id: u16) -> Option<Self> {
        if (id as usize) < Self::COUNT { Some(Self(id)) } else { None }
    }

    /// The id as a number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The id as an index into a table of [`Fid::COUNT`] elements.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A key as hashed by the table's seed: computed once per address, good for a prefetch, a look-up and a learn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HashedKey(u64);

impl HashedKey {
    /// The key whose primary bucket and remainder are these.
    pub(super) fn join(bucket: usize, remainder: u64, bucket_bits: u32) -> Self {
        Self(remainder << bucket_bits | bucket as u64)
    }

    /// The primary bucket of a table of `1 << bucket_bits`.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "masked to at most 28 bits")]
    pub(super) fn bucket(self, bucket_bits: u32) -> usize {
        (self.0 & ((1 << bucket_bits) - 1)) as usize
    }

    /// A place in another table of `len` elements, as random as the key's bucket.
    pub(in crate::switch) fn index(self, len: usize) -> usize {
        usize::try_from(self.0 >> 8).unwrap_or(0) % len
    }

    /// What the bucket number does not tell.
    #[inline]
    pub(super) fn remainder(self, bucket_bits: u32) -> u64 {
        self.0 >> bucket_bits
    }
}

/// The random choice of a permutation of keys: two rounds of multiply (by an odd number, mod 2^61) and xorshift.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seed {
    whiten: u64,
    factors: [u64; 2],
    inverses: [u64; 2],
    /// Odd; chooses how far an entry's secondary bucket is from its primary.
    stride: u64,
}

impl Seed {
    /// A seed from the system's entropy (by way of the standard library's hash seeds).
    pub(super) fn random() -> Self {
        let source = RandomState::new();
        Self::from_words([0, 1, 2, 3].map(|i: u64| source.hash_one(i)))
    }

    /// The seed that stretches `seed`: the same table every time.
    pub(super) fn from_u64(seed: u64) -> Self {
        Self::from_words([1, 2, 3, 4].map(|i| split_mix(seed.wrapping_add(i))))
    }

    fn from_words(words: [u64; 4]) -> Self {
        let factors = [(words[0] | 1) & KEY_MASK, (words[1] | 1) & KEY_MASK];
        let inverses = factors.map(inverse);
        Self { whiten: words[2] & KEY_MASK, factors, inverses, stride: words[3] | 1 }
    }

    /// Permutes a key.
    #[inline]
    pub(super) fn hash(&self, fid: Fid, mac: MacAddr) -> HashedKey {
        let mut x = (mac.to_u64() | u64::from(fid.0) << MAC_BITS) ^ self.whiten;
        for factor in self.factors {
            x = x.wrapping_mul(factor) & KEY_MASK;
            x ^= x >> SHIFT;
        }
        HashedKey(x)
    }

    /// The inverse of [`Seed::hash`].
    pub(super) fn unhash(&self, key: HashedKey) -> (Fid, MacAddr) {
        let mut x = key.0;
        for inverse in self.inverses.into_iter().rev() {
            x ^= x >> SHIFT;
            x = x.wrapping_mul(inverse) & KEY_MASK;
        }
        x ^= self.whiten;
        let fid = Fid((x >> MAC_BITS) as u16);
        (fid, MacAddr::from_u64(x & MAC_MASK))
    }

    /// What to xor to a bucket number to get from primary to secondary and back: never 0, and known from the remainder
    /// alone, so that an entry found in its secondary bucket still tells its key.
    #[inline]
    pub(super) fn offset(&self, remainder: u64, bucket_bits: u32) -> usize {
        let mask = (1 << bucket_bits) - 1;
        let offset = (remainder.wrapping_mul(self.stride) >> 32) & mask;
        offset.max(1) as usize
    }
}

/// The inverse of an odd number mod 2^64 (hence also mod 2^61): each Newton step doubles the bits that are right.
fn inverse(odd: u64) -> u64 {
    let mut x = odd; // 3 bits are right
    for _ in 0..5 {
        x = x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x)));
    }
    x & KEY_MASK
}

/// The finaliser of SplitMix64.
fn split_mix(seed: u64) -> u64 {
    let x = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn unhash_undoes_hash(seed: u64, fid in 0..8192u16, mac: [u8; 6]) {
            let (seed, fid, mac) = (Seed::from_u64(seed), Fid::new(fid).unwrap(), MacAddr(mac));
            let key = seed.hash(fid, mac);
            prop_assert_eq!(seed.unhash(key), (fid, mac));
        }

        #[test]
        fn hash_undoes_unhash(seed: u64, x in 0..=KEY_MASK) {
            let seed = Seed::from_u64(seed);
            let (fid, mac) = seed.unhash(HashedKey(x));
            prop_assert_eq!(seed.hash(fid, mac), HashedKey(x));
        }

        #[test]
        fn bucket_and_remainder_give_the_key_back(x in 0..=KEY_MASK, bits in MIN_BUCKET_BITS..=MAX_BUCKET_BITS) {
            let key = HashedKey(x);
            prop_assert!(key.remainder(bits) < 1 << 48);
            prop_assert_eq!(HashedKey::join(key.bucket(bits), key.remainder(bits), bits), key);
        }

        #[test]
        fn the_secondary_bucket_is_another_one(seed: u64, rem in 0..1u64 << 48, bits in 13..=28u32) {
            let offset = Seed::from_u64(seed).offset(rem, bits);
            prop_assert!((1..1 << bits).contains(&offset));
        }
    }

    #[test]
    fn every_table_has_its_own_seed() {
        assert_ne!(Seed::random().factors, Seed::random().factors);
    }

    /// Neighbouring addresses, the usual case in a lab, spread like random ones: about 1/e of the buckets stay empty.
    #[test]
    fn neighbours_spread() {
        let (seed, fid) = (Seed::random(), Fid::new(1).unwrap());
        let mut used = vec![false; 1 << 13];
        for i in 0..1 << 13 {
            used[seed.hash(fid, MacAddr::from_u64(0x0200_0000_0000 + i)).bucket(13)] = true;
        }
        let empty = used.iter().filter(|used| !**used).count();
        assert!((2600..3450).contains(&empty), "{empty} of 8192 empty, 3014 expected");
    }
}
