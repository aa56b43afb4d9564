use super::*;
use crate::mem::MempoolCache;
use crate::offload::testing::{Spec, bytes, chain, complete_frame, content, partial_frame, pool, specs, verify};
use proptest::prelude::*;

/// RFC 1071 to the letter: 16-bit words, one at a time.
fn naive(bytes: &[u8]) -> u16 {
    let mut sum = 0u32;
    for word in bytes.chunks(2) {
        sum += u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0));
        sum = (sum >> 16) + (sum & 0xffff);
    }
    u16::try_from(sum).unwrap()
}

#[test]
fn the_example_of_rfc_1071() {
    // §3: the sum of these is 0xddf2.
    assert_eq!(sum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), 0xddf2);
    assert_eq!((sum(&[]), sum(&[0xab]), sum(&[0xff; 4])), (0, 0xab00, 0xffff));
}

#[test]
fn the_checksum_of_an_ipv4_header() {
    // A header from RFC-conforming practice: ping from 192.168.0.1 to 192.168.0.199.
    let header = [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
    assert_eq!(!sum(&header), 0xb861);
}

#[test]
fn carries_survive_long_runs_of_ones() {
    for len in [1, 63, 64, 65, 2048, 65_535] {
        assert_eq!(sum(&vec![0xff; len]), naive(&vec![0xff; len]), "{len}");
    }
}

#[test]
fn a_udp_checksum_of_zero_is_sent_as_ones() {
    let pool = pool();
    let mut mem = MempoolCache::new(&pool);
    let (mut frame, offload) = partial_frame(&Spec { udp: true, payload: 2, ..Spec::default() });
    let at = frame.len() - 2;
    // The two payload bytes that make the sum 0xffff.
    frame[at..].fill(0);
    let rest = !sum(&frame[usize::from(offload.csum_start)..]);
    frame[at..].copy_from_slice(&rest.to_be_bytes());
    let mut mbuf = mem.alloc_from(&frame).unwrap();
    pool.set_offload(&mut mbuf, offload);
    complete(&pool, &mut mbuf).unwrap();
    assert_eq!(pool.data(&mbuf)[at - 2..at], [0xff, 0xff]);
    verify(pool.data(&mbuf));
    mem.free(mbuf);
}

#[test]
fn what_lies_outside_is_refused_and_nothing_written() {
    let pool = pool();
    let mut mem = MempoolCache::new(&pool);
    let (frame, offload) = partial_frame(&Spec { payload: 0, tcp_words: 0, ..Spec::default() });
    let len = u16::try_from(frame.len()).unwrap();
    let edge = len - 2 - offload.csum_offset;
    for (start, offset, fine) in
        [(edge, 16, true), (edge + 1, 16, false), (u16::MAX, u16::MAX, false), (0, len - 1, false)]
    {
        let mut mbuf = mem.alloc_from(&frame).unwrap();
        pool.set_offload(&mut mbuf, Offload { csum_start: start, csum_offset: offset, ..offload });
        assert_eq!(complete(&pool, &mut mbuf).is_ok(), fine, "{start}+{offset}");
        assert_eq!((bytes(&pool, &mbuf) == frame, mbuf.is_offloaded()), (!fine, !fine));
        mem.free(mbuf);
    }
}

#[test]
fn without_a_partial_checksum_nothing_happens() {
    let pool = pool();
    let mut mem = MempoolCache::new(&pool);
    let mut mbuf = mem.alloc_from(&complete_frame(&Spec::default())).unwrap();
    pool.set_offload(&mut mbuf, Offload { data_valid: true, ..Offload::NONE });
    complete(&pool, &mut mbuf).unwrap();
    assert!(pool.offload(&mbuf).data_valid);
    pool.set_offload(&mut mbuf, Offload { gso: Gso::Tcp4, ..Offload::NONE });
    assert_eq!(complete(&pool, &mut mbuf), Err(BadOffload::WrongProtocol));
    mem.free(mbuf);
}

proptest! {
    #[test]
    fn the_sum_is_the_naive_one(bytes in prop::collection::vec(any::<u8>(), 0..700)) {
        prop_assert_eq!(sum(&bytes), naive(&bytes));
    }

    #[test]
    fn pieces_of_any_length_sum_alike(len in 0usize..5000, cuts in prop::collection::vec(0usize..5000, 0..8)) {
        let bytes = content(len);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(len)).collect();
        cuts.extend([0, len]);
        cuts.sort_unstable();
        let mut total = Sum::default();
        cuts.windows(2).for_each(|pair| total.add(&bytes[pair[0]..pair[1]]));
        prop_assert_eq!(total.fold(), naive(&bytes));
    }

    /// What we complete is what another implementation writes, wherever the chain is cut.
    #[test]
    fn completed_frames_are_those_of_the_oracle(spec in specs(), cuts in prop::collection::vec(1usize..70_000, 0..6)) {
        let pool = pool();
        let mut mem = MempoolCache::new(&pool);
        let (frame, offload) = partial_frame(&spec);
        let l4 = usize::from(offload.csum_start);
        // One cut in the middle of the checksum field.
        let cuts = [&cuts[..], &[l4 + usize::from(offload.csum_offset) + 1]].concat();
        let mut mbuf = chain(&mut mem, &frame, &cuts);
        pool.set_offload(&mut mbuf, offload);
        complete(&pool, &mut mbuf).unwrap();
        let (done, expected) = (bytes(&pool, &mbuf), complete_frame(&spec));
        verify(&done);
        prop_assert!(done == expected);
        prop_assert!(!mbuf.is_offloaded());
        mem.free(mbuf);
        drop(mem);
        prop_assert_eq!(pool.free(), 1024);
    }
}
