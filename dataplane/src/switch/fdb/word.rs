//! One entry in one word: `remainder:48 | alt:1 | kind:2 | stamp:3 | port:10`. All zero is an empty slot.
//!
//! `alt` says that the entry sits in its secondary bucket. Remainder and alt together are the *tag*: within one bucket
//! they are the key. The stamp says in which second the entry was last refreshed, roughly: a worker compares it and
//! writes nothing when it is the current one. Seconds count modulo 7; the eighth value is [`STALE`], which the ageing
//! sweep sets on idle entries, so that a station that speaks every 7 or 14 seconds is not taken for one that just
//! spoke. Entries made by control do not age; their stamp bits say which kind they are.

use crate::port::{MAX_PORTS, PortId};
use crate::switch::fdb::{Fixed, Kind};

const PORT_BITS: u32 = 10;
const STAMP_SHIFT: u32 = PORT_BITS;
const KIND_SHIFT: u32 = STAMP_SHIFT + 3;
const TAG_SHIFT: u32 = KIND_SHIFT + 2;
const PORT_MASK: u64 = (1 << PORT_BITS) - 1;
const STAMP_MASK: u64 = 7 << STAMP_SHIFT;
const KIND_MASK: u64 = 3 << KIND_SHIFT;
const LEARNED: u64 = 1 << KIND_SHIFT;
const STATIC: u64 = 2 << KIND_SHIFT;
/// The stamp no second has.
const STALE: u64 = 7 << STAMP_SHIFT;
/// What the stamp bits of a static entry say; 0: it may move.
const STICKY: u64 = 1 << STAMP_SHIFT;
const FILTER: u64 = 2 << STAMP_SHIFT;

const _: () = assert!(MAX_PORTS <= 1 << PORT_BITS, "a port id must fit into an entry");

/// Remainder and alt at their place in the word, the rest zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag(u64);

impl Tag {
    /// The tag of an entry in its primary (`alt` false) or secondary bucket.
    #[inline]
    pub(super) fn new(remainder: u64, alt: bool) -> Self {
        Self((remainder << 1 | u64::from(alt)) << TAG_SHIFT)
    }

    #[inline]
    pub(super) fn remainder(self) -> u64 {
        self.0 >> (TAG_SHIFT + 1)
    }

    #[inline]
    pub(super) fn is_alt(self) -> bool {
        self.0 >> TAG_SHIFT & 1 == 1
    }
}

/// A slot's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Word(pub(super) u64);

impl Word {
    pub(super) const EMPTY: Self = Self(0);

    /// An entry learned from traffic at second `now_s`.
    #[inline]
    pub(super) fn learned(tag: Tag, port: PortId, now_s: u32) -> Self {
        Self(tag.0 | LEARNED | stamp(now_s) | port_bits(port))
    }

    /// An entry that control made: never ages.
    pub(super) fn fixed(tag: Tag, port: PortId, fixed: Fixed) -> Self {
        let how = match fixed {
            Fixed::Static => 0,
            Fixed::Sticky => STICKY,
            Fixed::Filter => FILTER,
        };
        Self(tag.0 | STATIC | how | port_bits(port))
    }

    /// The same entry on another port.
    pub(super) fn on(self, port: PortId) -> Self {
        Self(self.0 & !PORT_MASK | port_bits(port))
    }

    /// Whether this is an entry with that tag. The word is then the tag plus a number from `LEARNED` up to, but not
    /// including, `3 << KIND_SHIFT`: one subtraction and one comparison, and an empty slot has no tag.
    #[inline]
    pub(super) fn has(self, tag: Tag) -> bool {
        self.0.wrapping_sub(tag.0 | LEARNED) < KIND_MASK - LEARNED
    }

    #[inline]
    pub(super) fn tag(self) -> Tag {
        Tag(self.0 >> TAG_SHIFT << TAG_SHIFT)
    }

    #[inline]
    pub(super) fn port(self) -> PortId {
        PortId((self.0 & PORT_MASK) as u16)
    }

    /// `None` for an empty slot.
    #[inline]
    pub(super) fn kind(self) -> Option<Kind> {
        match self.0 & KIND_MASK {
            LEARNED => Some(Kind::Learned),
            STATIC => Some(match self.0 & STAMP_MASK {
                STICKY => Kind::Sticky,
                FILTER => Kind::Filter,
                _ => Kind::Static,
            }),
            _ => None,
        }
    }

    /// Whether control made it and it may move all the same.
    pub(super) fn may_roam(self) -> bool {
        self.0 & (KIND_MASK | STAMP_MASK) == STATIC
    }

    #[inline]
    pub(super) fn is_learned(self) -> bool {
        self.0 & KIND_MASK == LEARNED
    }

    #[inline]
    pub(super) fn is_static(self) -> bool {
        self.0 & KIND_MASK == STATIC
    }

    /// Whether the entry was refreshed in second `now_s` (or a multiple of seven seconds before, unseen by the sweep).
    #[inline]
    pub(super) fn is_stamped(self, now_s: u32) -> bool {
        self.0 & STAMP_MASK == stamp(now_s)
    }

    pub(super) fn is_stale(self) -> bool {
        self.0 & STAMP_MASK == STALE
    }

    /// The same entry, idle for a while: the next frame refreshes it whatever the second.
    pub(super) fn stale(self) -> Self {
        Self(self.0 | STALE)
    }
}

#[inline]
fn stamp(now_s: u32) -> u64 {
    u64::from(now_s % 7) << STAMP_SHIFT
}

#[inline]
fn port_bits(port: PortId) -> u64 {
    debug_assert!(port.index() < MAX_PORTS, "fdb: port id {} out of range", port.0);
    u64::from(port.0) & PORT_MASK
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn fields_do_not_overlap(rem in 0..1u64 << 48, alt: bool, port in 0..1024u16, now: u32, how in 0..4usize) {
            let (tag, fixed) = (Tag::new(rem, alt), how > 0);
            let (kind, word) = [
                (Kind::Learned, Word::learned(tag, PortId(port), now)),
                (Kind::Static, Word::fixed(tag, PortId(port), Fixed::Static)),
                (Kind::Sticky, Word::fixed(tag, PortId(port), Fixed::Sticky)),
                (Kind::Filter, Word::fixed(tag, PortId(port), Fixed::Filter)),
            ][how];
            prop_assert_eq!((word.tag(), word.port()), (tag, PortId(port)));
            prop_assert_eq!((tag.remainder(), tag.is_alt()), (rem, alt));
            prop_assert_eq!(word.kind(), Some(kind));
            prop_assert_eq!((word.is_static(), word.may_roam()), (fixed, kind == Kind::Static));
            prop_assert_eq!((word.on(PortId(7)).kind(), word.on(PortId(7)).port()), (Some(kind), PortId(7)));
            prop_assert!(word.has(tag));
            prop_assert!(!word.has(Tag::new(rem, !alt)));
            prop_assert!(fixed || word.is_stamped(now) && !word.is_stamped(now.wrapping_add(1)) || now == u32::MAX);
            prop_assert!(word.stale().is_stale() && word.stale().tag() == tag && word.stale().port() == PortId(port));
            prop_assert!(!(0..7).any(|now| word.stale().is_stamped(now)));
        }

        #[test]
        fn another_remainder_is_another_entry(a in 0..1u64 << 48, b in 0..1u64 << 48) {
            let word = Word::learned(Tag::new(a, false), PortId(1023), 6);
            prop_assert_eq!(word.has(Tag::new(b, false)), a == b);
        }
    }

    #[test]
    fn an_empty_slot_has_no_tag() {
        assert_eq!(Word::EMPTY.kind(), None);
        assert!(!Word::EMPTY.has(Tag::new(0, false)));
        assert!(!Word::EMPTY.has(Tag::new(0, true)));
    }
}
