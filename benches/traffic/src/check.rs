//! The checking side: which frames of a stream arrived, how often, in which order, and how late.
//!
//! One bit per frame is kept for the whole trial, so loss and duplicates are exact however late a frame comes.

use crate::frame::{HEAD, PATTERN, Stamp, Stream};
use hdrhistogram::Histogram;

/// Times beyond this count as this, nanoseconds.
const LONGEST: u64 = 60_000_000_000;

/// Which numbers were seen, and the counts.
#[derive(Clone, Debug)]
pub struct Checker {
    seen: Vec<u64>,
    next: u64,
    /// Different frames that arrived whole.
    pub received: u64,
    /// Frames that had arrived before.
    pub duplicates: u64,
    /// Frames that came after one with a higher number.
    pub reordered: u64,
    /// Frames whose bytes or length are not what they were.
    pub corrupt: u64,
    /// From the moment a frame was due until it arrived, nanoseconds.
    pub latency: Histogram<u64>,
    /// When the last one arrived.
    pub last_arrival: u64,
}

/// A frame as it arrived, in pieces.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// Its first piece.
    pub first: &'a [u8],
    /// Its whole length without FCS.
    pub len: usize,
    /// Whether the later pieces hold the pattern.
    pub rest_is_whole: bool,
    /// When the station saw it.
    pub seen: u64,
}

impl Checker {
    /// For a stream of about so many frames.
    ///
    /// # Panics
    /// Never: the bounds of the histogram are valid.
    pub fn new(frames: u64) -> Self {
        let words = usize::try_from(frames.div_ceil(64)).unwrap_or(0).min(1 << 26);
        Self {
            seen: vec![0; words],
            next: 0,
            received: 0,
            duplicates: 0,
            reordered: 0,
            corrupt: 0,
            latency: Histogram::new_with_bounds(1, LONGEST, 3).expect("valid bounds"),
            last_arrival: 0,
        }
    }

    /// Takes note of a frame of `stream`.
    pub fn take(&mut self, stream: &Stream, stamp: &Stamp, arrival: &Arrival<'_>) {
        if !is_whole(stream, stamp, arrival) {
            self.corrupt += 1;
            return;
        }
        if !self.note(stamp.number) {
            return;
        }
        let at = if stamp.arrived == 0 { arrival.seen } else { stamp.arrived };
        self.latency.saturating_record(at.saturating_sub(stamp.due).max(1));
        self.last_arrival = at;
    }

    /// Takes note of a number; whether it is new.
    pub fn note(&mut self, number: u64) -> bool {
        let (word, bit) = (usize::try_from(number / 64).unwrap_or(usize::MAX), 1 << (number % 64));
        // a number beyond reason has failed the check of its frame
        if word >= self.seen.len() {
            self.seen.resize(word + 1, 0);
        }
        if self.seen[word] & bit != 0 {
            self.duplicates += 1;
            return false;
        }
        self.seen[word] |= bit;
        self.received += 1;
        if number < self.next {
            self.reordered += 1;
        }
        self.next = self.next.max(number + 1);
        true
    }

    /// Whether frame `number` arrived.
    pub fn has(&self, number: u64) -> bool {
        let word = usize::try_from(number / 64).ok().and_then(|word| self.seen.get(word));
        word.is_some_and(|word| word & 1 << (number % 64) != 0)
    }

    /// The last of the first `sent` frames that did not arrive.
    pub fn last_lost(&self, sent: u64) -> Option<u64> {
        (0..sent).rev().find(|number| !self.has(*number))
    }
}

fn is_whole(stream: &Stream, stamp: &Stamp, arrival: &Arrival<'_>) -> bool {
    arrival.rest_is_whole
        && arrival.len == stream.len(stamp.number)
        && stream.is_head(stamp, arrival.first)
        && is_pattern(arrival.first, HEAD)
}

/// Whether `piece`, from byte `from` on, holds the pattern; a piece begins at a multiple of 256.
pub(crate) fn is_pattern(piece: &[u8], from: usize) -> bool {
    piece.get(from..).is_none_or(|bytes| bytes == &PATTERN[from..from + bytes.len()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Sizes;

    fn stream() -> Stream {
        Stream::new(1, [2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2], Sizes::Fixed(128))
    }

    fn bytes(number: u64, due: u64) -> Vec<u8> {
        let mut frame = PATTERN[..stream().len(number)].to_vec();
        frame[..HEAD].copy_from_slice(&stream().head(number, due));
        frame
    }

    fn take(checker: &mut Checker, frame: &[u8], seen: u64) {
        let arrival = Arrival { first: frame, len: frame.len(), rest_is_whole: true, seen };
        if let Some(stamp) = Stamp::read(frame) {
            checker.take(&stream(), &stamp, &arrival);
        }
    }

    fn after(numbers: &[u64]) -> Checker {
        let mut checker = Checker::new(8);
        numbers.iter().for_each(|number| take(&mut checker, &bytes(*number, 100), 150));
        checker
    }

    #[test]
    fn what_arrives_once_and_in_order_is_only_received() {
        let checker = after(&[0, 1, 2]);
        assert_eq!((checker.received, checker.duplicates, checker.reordered, checker.corrupt), (3, 0, 0, 0));
        assert_eq!(checker.last_lost(3), None);
        assert_eq!((checker.latency.len(), checker.latency.max()), (3, 50));
    }

    #[test]
    fn losses_are_known_by_number() {
        let checker = after(&[0, 2, 5]);
        assert_eq!((checker.received, checker.reordered), (3, 0));
        assert_eq!((checker.last_lost(6), checker.last_lost(3)), (Some(4), Some(1)));
        assert_eq!(checker.last_lost(7), Some(6));
    }

    #[test]
    fn a_second_copy_is_a_duplicate_however_late() {
        let checker = after(&[0, 1, 70_000, 0]);
        assert_eq!((checker.received, checker.duplicates, checker.reordered), (3, 1, 0));
    }

    #[test]
    fn a_frame_that_was_overtaken_is_out_of_order() {
        let checker = after(&[0, 2, 1, 3]);
        assert_eq!((checker.received, checker.reordered, checker.duplicates), (4, 1, 0));
        assert_eq!(checker.last_lost(4), None);
    }

    #[test]
    fn any_changed_byte_and_a_changed_length_are_noticed() {
        let frame = bytes(3, 9);
        let mut checker = Checker::new(1);
        for at in (0..frame.len()).filter(|at| !(42..50).contains(at)) {
            let mut bad = frame.clone();
            bad[at] ^= 0x80;
            take(&mut checker, &bad, 10);
        }
        take(&mut checker, &frame[..frame.len() - 1], 10);
        assert_eq!(checker.received, 0);
        assert!(checker.corrupt > 80, "{}", checker.corrupt);
    }
}
