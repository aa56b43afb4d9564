use super::testing::{Spec, bytes, chain, complete_frame, pool, specs, super_frame, verify};
use super::*;
use proptest::prelude::*;

#[test]
fn features_cover_what_they_name() {
    let (_, tcp) = super_frame(&Spec::default());
    let (_, uso) = super_frame(&Spec { udp: true, ..Spec::default() });
    let no_uso = Features { uso: false, ..Features::ALL };
    assert!(Features::ALL.covers(&tcp) && Features::ALL.covers(&uso) && Features::default().covers(&Offload::NONE));
    assert!(no_uso.covers(&tcp) && !no_uso.covers(&uso));
    assert!(!Features { csum: false, ..Features::ALL }.covers(&tcp));
    assert!(!Features { ecn: false, ..Features::ALL }.covers(&Offload { ecn: true, ..tcp }));
    assert!(!Features { tso4: false, ..Features::ALL }.covers(&tcp));
    assert_eq!(Features::ALL.to_string(), "csum,tso4,tso6,ecn,uso");
    assert_eq!((no_uso.to_string().as_str(), Features::default().to_string().as_str()), ("csum,tso4,tso6,ecn", "none"));
}

#[test]
fn a_refused_frame_comes_back_unchanged() {
    let pool = pool();
    let mut mem = MempoolCache::new(&pool);
    let (frame, offload) = super_frame(&Spec::default());
    for lie in [Offload { gso_size: 0, ..offload }, Offload { gso: Gso::None, csum_start: 60_000, ..offload }] {
        let mut mbuf = mem.alloc_from(&frame).unwrap();
        pool.set_offload(&mut mbuf, lie);
        let refused = finish(&mut mem, mbuf, &mut |m| panic!("{m:?}")).unwrap_err();
        assert_eq!((bytes(&pool, &refused.mbuf), refused.reason()), (frame.clone(), DropReason::BadOffload));
        assert_eq!(pool.offload(&refused.mbuf), lie);
        mem.free(refused.mbuf);
    }
    drop(mem);
    assert_eq!(pool.free(), 1024);
}

#[test]
fn what_needs_nothing_passes_untouched() {
    let pool = pool();
    let mut mem = MempoolCache::new(&pool);
    let frame = complete_frame(&Spec::default());
    let mbuf = mem.alloc_from(&frame).unwrap();
    let mut out = Vec::new();
    assert_eq!(finish(&mut mem, mbuf, &mut |m| out.push(m)).map_err(|r| r.error), Ok(1));
    let mbuf = out.pop().unwrap();
    assert_eq!(bytes(&pool, &mbuf), frame);
    mem.free(mbuf);
}

/// A frame that ends in `exercise` without being the sender's: its MAC addresses and tags must survive.
fn assert_l2_kept(out: &[Vec<u8>], frame: &[u8]) {
    let l2 = crate::eth::payload(frame).map_or(12, |(_, at)| at);
    for done in out {
        assert_eq!(done[..l2.min(done.len())], frame[..l2.min(done.len())]);
    }
}

proptest! {
    #[test]
    fn finished_frames_are_correct(spec in specs(), cuts in prop::collection::vec(1usize..70_000, 0..4)) {
        let pool = pool();
        let mut mem = MempoolCache::new(&pool);
        let (frame, offload) = super_frame(&spec);
        let mut mbuf = chain(&mut mem, &frame, &cuts);
        pool.set_offload(&mut mbuf, offload);
        let mut out = Vec::new();
        finish(&mut mem, mbuf, &mut |m| out.push(m)).map_err(|r| r.error).unwrap();
        for mbuf in out {
            prop_assert!(!mbuf.is_offloaded());
            verify(&bytes(&pool, &mbuf));
            mem.free(mbuf);
        }
        drop(mem);
        prop_assert_eq!(pool.free(), 1024);
    }

    #[test]
    fn arbitrary_bytes_never_panic(hdr: [u8; 12], frame in prop::collection::vec(any::<u8>(), 14..4000)) {
        let pool = pool();
        let mut mem = MempoolCache::new(&pool);
        if let Some(out) = exercise(&mut mem, &hdr, &frame) {
            assert_l2_kept(&out, &frame);
        }
        drop(mem);
        prop_assert_eq!(pool.free(), 1024);
    }

    /// True headers with a few bytes changed get further in than noise.
    #[test]
    fn small_lies_never_panic(mut spec in specs(), lies in prop::collection::vec((0usize..120, any::<u8>()), 0..6), cut in 0usize..4000) {
        let pool = pool();
        let mut mem = MempoolCache::new(&pool);
        spec.payload = spec.payload.min(3000);
        let (frame, offload) = super_frame(&spec);
        let mut all = [&vnet::build(&offload, 0)[..], &frame[..]].concat();
        for (at, byte) in lies {
            let at = at % all.len().min(120);
            all[at] = byte;
        }
        all.truncate(all.len().saturating_sub(cut).max(26));
        let (hdr, frame) = all.split_at(vnet::LEN);
        if let Some(out) = exercise(&mut mem, hdr, frame) {
            assert_l2_kept(&out, frame);
        }
        drop(mem);
        prop_assert_eq!(pool.free(), 1024);
    }
}
