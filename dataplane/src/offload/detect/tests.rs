use super::*;
use crate::offload::testing::{Spec, complete_frame, partial_frame, specs};
use proptest::prelude::*;

#[test]
fn padding_is_allowed_and_other_trailers_are_not() {
    for v6 in [false, true] {
        let spec = Spec { v6, payload: 0, tcp_words: 0, ..Spec::default() };
        let (mut frame, offload) = partial_frame(&spec);
        frame.extend([0; 6]);
        assert_eq!(detect_partial(&frame, frame.len()), Some(offload));
        frame[offload.csum_start as usize + 25] = 1;
        assert_eq!(detect_partial(&frame, frame.len()), None, "a trailer that would be summed");
    }
}

#[test]
fn a_packet_longer_than_its_frame_is_left_alone() {
    let (frame, offload) = partial_frame(&Spec { payload: 100, ..Spec::default() });
    assert_eq!(detect_partial(&frame, frame.len()), Some(offload));
    assert_eq!(detect_partial(&frame[..frame.len() - 1], frame.len() - 1), None);
    // The first chunk of a longer frame is enough.
    assert_eq!(detect_partial(&frame[..80], frame.len()), Some(offload));
}

#[test]
fn udp_without_a_checksum_and_fragments_are_left_alone() {
    let (mut frame, offload) = partial_frame(&Spec { udp: true, ..Spec::default() });
    let at = usize::from(offload.csum_start + offload.csum_offset);
    let mut fragment = frame.clone();
    fragment[20] |= 0x20;
    assert_eq!(detect_partial(&fragment, fragment.len()), None);
    frame[at..at + 2].fill(0);
    assert_eq!(detect_partial(&frame, frame.len()), None);
    frame[23] = 1;
    assert_eq!(detect_partial(&frame, frame.len()), None, "ICMP");
    frame[13] = 6;
    assert_eq!(detect_partial(&frame, frame.len()), None, "ARP");
}

proptest! {
    #[test]
    fn partial_is_found_and_complete_is_not(spec in specs()) {
        let (frame, offload) = partial_frame(&spec);
        prop_assert_eq!(detect_partial(&frame, frame.len()), Some(offload));
        let complete = complete_frame(&spec);
        let found = detect_partial(&complete, complete.len());
        // Equal by chance, one in 65535, is harmless.
        prop_assert!(found.is_none() || complete == frame);
    }

    #[test]
    fn no_bytes_make_it_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0usize..3, len in 0usize..300) {
        for (target, byte) in bytes.iter_mut().skip(12).zip([[0x08, 0, 0x45], [0x86, 0xdd, 0x60], [0x81, 0, 0]][kind]) {
            *target = byte;
        }
        let _ = detect_partial(&bytes, len.max(bytes.len()));
    }
}
