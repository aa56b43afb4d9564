use super::*;
use crate::offload::testing::{Spec, partial_frame, specs, super_frame};
use proptest::prelude::*;

/// Fields in the order of the header.
fn header(flags: u8, gso: u8, rest: [u16; 4]) -> [u8; LEN] {
    let mut hdr = [0; LEN];
    (hdr[0], hdr[1]) = (flags, gso);
    for (i, field) in rest.into_iter().enumerate() {
        hdr[2 + 2 * i..][..2].copy_from_slice(&field.to_le_bytes());
    }
    hdr
}

fn tcp4() -> Vec<u8> {
    super_frame(&Spec { tcp_words: 0, payload: 946, gso_size: 500, ..Spec::default() }).0
}

#[test]
fn a_golden_tcp_header() {
    let frame = tcp4();
    let offload = parse(&header(1, 0x81, [1000, 500, 34, 16]), &frame, frame.len()).unwrap();
    let expected = Offload {
        csum_start: 34,
        csum_offset: 16,
        gso_size: 500,
        hdr_len: 54,
        gso: Gso::Tcp4,
        needs_csum: true,
        ecn: true,
        data_valid: false,
    };
    assert_eq!(offload, expected, "hdr_len is taken from the frame");
    assert_eq!(build(&offload, 0), [1, 0x81, 54, 0, 0xf4, 1, 34, 0, 16, 0, 0, 0]);
}

#[test]
fn each_lie_has_its_error() {
    use BadOffload::*;
    let frame = tcp4();
    let len = frame.len();
    assert_eq!(len, 1000);
    let lies = [
        (header(1, 0, [0, 0, 983, 16]), ChecksumOutside { at: 999, len }),
        (header(1, 0, [0, 0, 0xffff, 0xffff]), ChecksumOutside { at: 0x1fffe, len }),
        (header(1, 0, [0, 0, 13, 16]), ChecksumOutside { at: 29, len }),
        (header(1, 0, [1001, 0, 34, 16]), HeaderLength { hdr_len: 1001, len }),
        (header(1, 1, [54, 0, 34, 16]), GsoSize { size: 0, len }),
        (header(1, 1, [54, 1000, 34, 16]), GsoSize { size: 1000, len }),
        (header(0, 1, [54, 500, 34, 16]), GsoWithoutChecksum),
        (header(1, 2, [54, 500, 34, 16]), GsoType(2)),
        (header(1, 3, [54, 500, 34, 16]), GsoType(3)),
        (header(1, 0x80, [54, 500, 34, 16]), GsoType(0x80)),
        (header(1, 0x85, [54, 500, 34, 16]), GsoType(0x85)),
        (header(1, 4, [54, 500, 34, 16]), WrongProtocol),
        (header(1, 5, [54, 500, 34, 16]), WrongProtocol),
        (header(1, 1, [54, 500, 35, 16]), WrongProtocol),
        (header(1, 1, [54, 500, 34, 6]), WrongProtocol),
    ];
    for (hdr, error) in lies {
        assert_eq!(parse(&hdr, &frame, len), Err(error), "{hdr:?}");
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn a_checksum_must_not_reach_into_tags() {
    for tags in 0..=2 {
        let (frame, offload) = partial_frame(&Spec { tags, ..Spec::default() });
        let l2 = u16::try_from(14 + 4 * tags).unwrap();
        for (start, fine) in [(offload.csum_start, true), (l2, true), (l2 - 1, false), (12, false), (0, false)] {
            let hdr = build(&Offload { csum_start: start, ..offload }, 0);
            assert_eq!(parse(&hdr, &frame, frame.len()).is_ok(), fine, "{tags} tags, start {start}");
        }
    }
}

#[test]
fn headers_that_fill_the_frame_leave_nothing_to_segment() {
    let (frame, offload) = super_frame(&Spec { payload: 1, gso_size: 1, ..Spec::default() });
    let hdr = build(&offload, 0);
    assert!(parse(&hdr, &frame, frame.len()).is_ok());
    let short = &frame[..frame.len() - 1];
    let error = parse(&build(&offload, 0), short, short.len()).unwrap_err();
    assert!(matches!(error, BadOffload::HeaderLength { .. }), "{error}");
    let cut = &frame[..40];
    assert!(parse(&build(&Offload { hdr_len: 0, ..offload }, 0), cut, cut.len()).is_err());
}

#[test]
fn ordinary_frames_pass_and_data_valid_is_apart() {
    assert_eq!(parse(&[0; LEN], &[], 14), Ok(Offload::NONE));
    let hdr = header(2, 0, [0; 4]);
    assert_eq!((parse(&hdr, &[], 14), data_valid(&hdr)), (Ok(Offload::NONE), true));
    assert!(!data_valid(&header(3, 0, [0; 4])) && !data_valid(&header(0, 0, [0; 4])));
    assert_eq!(build(&Offload { data_valid: true, ..Offload::NONE }, 0), hdr);
    assert_eq!(build(&Offload::NONE, 0), [0; LEN]);
}

proptest! {
    #[test]
    fn what_is_built_is_read_back(spec in specs(), gso: bool, ecn: bool) {
        let (frame, mut offload) = if gso { super_frame(&spec) } else { partial_frame(&spec) };
        offload.ecn = ecn && matches!(offload.gso, Gso::Tcp4 | Gso::Tcp6);
        let first = &frame[..frame.len().min(1792)];
        prop_assert_eq!(parse(&build(&offload, 0), first, frame.len()), Ok(offload));
    }

    #[test]
    fn whatever_passes_lies_inside_the_frame(hdr: [u8; LEN], gso in prop_oneof![Just(0u8), 1..=5u8, Just(0x81)], mut spec in specs()) {
        spec.payload = spec.payload.min(3000);
        let (frame, _) = super_frame(&spec);
        let mut hdr = hdr;
        (hdr[0], hdr[1]) = (1, gso);
        if let Ok(offload) = parse(&hdr, &frame, frame.len()) {
            prop_assert!(usize::from(offload.csum_start) + usize::from(offload.csum_offset) + 2 <= frame.len());
            prop_assert!(usize::from(offload.hdr_len) < frame.len());
        }
    }
}
