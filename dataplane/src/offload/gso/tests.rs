use super::*;
use crate::offload::testing::{Spec, bytes, chain, content, pool, specs, super_frame, verify};
use proptest::prelude::*;

/// Segments `frame`, completes each segment, and returns their bytes; the pool must balance.
fn segments(frame: &[u8], offload: Offload, cuts: &[usize]) -> Result<Vec<Vec<u8>>, GsoError> {
    let pool = pool();
    let mut mem = MempoolCache::new(&pool);
    let mut mbuf = chain(&mut mem, frame, cuts);
    pool.set_offload(&mut mbuf, offload);
    let mut out = Vec::new();
    let result = segment(&mut mem, &mbuf, &mut |m| out.push(m));
    assert_eq!(bytes(&pool, &mbuf), frame, "the frame itself is left as it was");
    mem.free(mbuf);
    assert_eq!(out.len(), result.unwrap_or(0));
    let frames = out.into_iter().map(|mut m| {
        assert!(pool.offload(&m).needs_csum && pool.offload(&m).gso == Gso::None);
        csum::complete(&pool, &mut m).unwrap();
        let frame = bytes(&pool, &m);
        mem.free(m);
        frame
    });
    let frames: Vec<_> = frames.collect();
    drop(mem);
    assert_eq!(pool.free(), 1024);
    result.map(|_| frames)
}

#[test]
fn a_golden_tcp_frame() {
    let spec = Spec { tcp_words: 0, payload: 5, gso_size: 2, seq: u32::MAX - 1, ..Spec::default() };
    let (frame, offload) = super_frame(&spec);
    let out = segments(&frame, offload, &[]).unwrap();
    let (lens, ids): (Vec<_>, Vec<_>) = out.iter().map(|f| (f.len(), [f[18], f[19]])).unzip();
    assert_eq!(lens, [56, 56, 55]);
    assert_eq!(ids, [[0xff, 0xfe], [0xff, 0xff], [0, 0]]);
    let total_len: Vec<_> = out.iter().map(|f| f[17]).collect();
    assert_eq!(total_len, [42, 42, 41]);
    let seq: Vec<_> = out.iter().map(|f| f[38..42].to_vec()).collect();
    assert_eq!(seq, [[0xff, 0xff, 0xff, 0xfe], [0, 0, 0, 0], [0, 0, 0, 2]]);
    let flags: Vec<_> = out.iter().map(|f| f[47]).collect();
    assert_eq!(flags, [0x90, 0x10, 0x19], "CWR first, FIN and PSH last");
}

#[test]
fn a_golden_udp_frame() {
    let spec = Spec { udp: true, v6: true, tags: 2, payload: 2500, gso_size: 1000, ..Spec::default() };
    let (frame, offload) = super_frame(&spec);
    let out = segments(&frame, offload, &[1500, 2100]).unwrap();
    let lens: Vec<_> = out.iter().map(|f| verify(f).udp.unwrap().length).collect();
    assert_eq!(lens, [1008, 1008, 508]);
    assert!(out.iter().all(|f| f[12..22] == frame[12..22]), "tags stay");
}

#[test]
fn long_segments_are_chains() {
    let (frame, offload) = super_frame(&Spec { payload: 60_000, gso_size: 8948, ..Spec::default() });
    let out = segments(&frame, offload, &[]).unwrap();
    assert_eq!(out.len(), 7);
    assert_eq!(out.iter().flat_map(|f| verify(f).payload).collect::<Vec<_>>(), content(60_000));
}

#[test]
fn the_count_is_known_before() {
    let spec = Spec { payload: 64_000, gso_size: 250, ..Spec::default() };
    let (frame, offload) = super_frame(&spec);
    assert_eq!(segments_needed(&offload, frame.len()), 256);
    assert_eq!(segments(&frame, offload, &[]).unwrap().len(), MAX_SEGMENTS);
    let more = Offload { gso_size: 249, ..offload };
    assert_eq!(segments(&frame, more, &[]), Err(GsoError::TooManySegments(258)));
    assert_eq!(segments_needed(&Offload::NONE, 9000), 1);
    assert_eq!(segments_needed(&Offload { gso: Gso::Tcp4, ..Offload::NONE }, 0), 1, "nonsense is at least a number");
}

#[test]
fn all_or_nothing_when_the_pool_is_short() {
    let pool = pool();
    let mut mem = MempoolCache::new(&pool);
    let (frame, offload) = super_frame(&Spec { payload: 14_480, ..Spec::default() });
    let mut mbuf = mem.alloc_from(&frame).unwrap();
    pool.set_offload(&mut mbuf, offload);
    let mut hoard: Vec<Mbuf> = std::iter::from_fn(|| mem.alloc()).collect();
    for (free, enough) in [(0, false), (9, false), (10, true)] {
        while pool.total() as usize - hoard.len() - mbuf.segments() < free {
            mem.free(hoard.pop().unwrap());
        }
        let mut out = Vec::new();
        let result = segment(&mut mem, &mbuf, &mut |m| out.push(m));
        assert_eq!((result, out.len()), if enough { (Ok(10), 10) } else { (Err(GsoError::NoMbuf), 0) });
        out.into_iter().for_each(|m| mem.free(m));
    }
    hoard.into_iter().for_each(|m| mem.free(m));
    mem.free(mbuf);
    drop(mem);
    assert_eq!(pool.free(), 1024);
}

#[test]
fn segments_that_no_ip_length_can_name_are_refused() {
    let (frame, offload) = super_frame(&Spec { payload: 65_000, gso_size: 60_000, ..Spec::default() });
    // Longer than IP allows, as only a hostile peer sends them.
    let mut frame = frame;
    frame.resize(100_000, 0);
    let lie = Offload { gso_size: 65_535, ..offload };
    assert!(matches!(segments(&frame, lie, &[]), Err(GsoError::Bad(BadOffload::GsoSize { .. }))));
}

#[test]
fn errors_name_their_reason() {
    assert_eq!(GsoError::NoMbuf.reason(), DropReason::NoMbuf);
    assert_eq!(GsoError::TooManySegments(300).reason(), DropReason::BadOffload);
    assert_eq!(GsoError::Bad(BadOffload::WrongProtocol).reason(), DropReason::BadOffload);
}

fn check_tcp(spec: &Spec, index: usize, count: usize, header: &etherparse::TcpHeader) {
    let offset = u32::try_from(index * usize::from(spec.gso_size)).unwrap();
    assert_eq!(header.sequence_number, spec.seq.wrapping_add(offset));
    let last = index + 1 == count;
    assert_eq!((header.fin, header.psh), (spec.fin && last, spec.psh && last));
    assert_eq!((header.cwr, header.ack), (spec.cwr && index == 0, true));
    assert_eq!(header.header_len(), 20 + 4 * spec.tcp_words);
}

proptest! {
    /// Every segment is correct according to another implementation, and together they carry the payload.
    #[test]
    fn segments_rejoin_to_the_original(spec in specs(), cuts in prop::collection::vec(1usize..70_000, 0..6)) {
        let (frame, offload) = super_frame(&spec);
        let out = segments(&frame, offload, &cuts).unwrap();
        prop_assert_eq!(out.len(), segments_needed(&offload, frame.len()));
        let mut payload = Vec::new();
        for (index, frame) in out.iter().enumerate() {
            let verified = verify(frame);
            prop_assert!(verified.payload.len() <= usize::from(spec.gso_size));
            prop_assert_eq!(verified.tags.len(), spec.tags);
            let id = (!spec.v6).then(|| 0xfffeu16.wrapping_add(u16::try_from(index).unwrap()));
            prop_assert_eq!(verified.ip_id, id);
            if let Some(tcp) = &verified.tcp {
                check_tcp(&spec, index, out.len(), tcp);
            }
            payload.extend(verified.payload);
        }
        prop_assert!(payload == content(spec.payload));
    }
}
