//! A virtio_net_hdr of 12 bytes and the frame behind it, as a guest or a TAP hands them over: validation, segmentation
//! and checksum completion. Whatever the bytes: no panic, every frame home again, and what comes out is what a wire
//! can carry and holds the payload that went in.

#![no_main]

use dataplane::mem::{Arena, ArenaConfig, Hugepages, Mempool, MempoolCache, Offload};
use dataplane::offload::{csum, exercise, parse, vnet};
use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;

thread_local! {
    static MEM: RefCell<MempoolCache> = RefCell::new(MempoolCache::new(&Mempool::new(
        Arena::new(&ArenaConfig { frames: 1024, hugepages: Hugepages::Off }).expect("memory"),
    )));
}

fuzz_target!(|data: &[u8]| MEM.with_borrow_mut(|mem| run(mem, data)));

fn run(mem: &mut MempoolCache, data: &[u8]) {
    let Some((hdr, frame)) = data.split_at_checked(vnet::LEN) else { return };
    let frames = exercise(mem, hdr, frame);
    mem.publish();
    assert_eq!(mem.pool().free(), mem.pool().total(), "every frame is home");
    let (Some(frames), Some(hdr)) = (frames, hdr.first_chunk()) else { return };
    let offload = vnet::parse(hdr, frame, frame.len()).expect("accepted before");
    if !offload.needs_csum {
        assert_eq!(frames, [frame], "nothing was left undone, nothing is changed");
        return;
    }
    if frames.len() > 1 {
        check_segments(&offload, frame, &frames);
    }
}

/// Segments hold the payload, none more than its share, and are right if the super-frame was.
fn check_segments(offload: &Offload, frame: &[u8], frames: &[Vec<u8>]) {
    let payload = |out: &[u8]| out.len() - usize::from(offload.hdr_len);
    assert_eq!(frames.iter().map(|out| payload(out)).sum::<usize>(), payload(frame));
    for out in frames {
        assert!(payload(out) <= offload.gso_size.into());
        let l4 = parse::find_l4(out).expect("the headers of the super-frame");
        if is_consistent(frame) {
            let mut sum = csum::pseudo_header(out, &l4, out.len() - l4.l4).expect("addresses");
            sum.add(&out[l4.l4..]);
            assert_eq!(sum.fold(), 0xffff, "a segment with a wrong checksum");
        }
    }
}

/// Whether the checksum field of the super-frame holds the sum of its pseudo-header, as an honest sender's does.
fn is_consistent(frame: &[u8]) -> bool {
    let Some(l4) = parse::find_l4(frame) else { return false };
    let Some(at) = l4.csum_offset().map(|at| l4.l4 + at) else { return false };
    let Some(field) = parse::be16(frame, at) else { return false };
    csum::pseudo_header(frame, &l4, frame.len() - l4.l4).is_some_and(|sum| sum.fold() % 0xffff == field % 0xffff)
}
