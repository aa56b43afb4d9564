//! Writing VLAN tags into frames and out of them, in the headroom, with the offload state that points behind them.

use super::vlan::Retag;
use crate::eth::{TAG_LEN, field};
use crate::mem::{Gso, Mbuf, Mempool};
use crate::stats::DropReason;

/// Bytes of a tag.
const LEN: u16 = 4;
const _: () = assert!(LEN as usize == TAG_LEN);
/// Where a tag is, behind the addresses.
const TAG: std::ops::Range<usize> = field::ETHERTYPE.start..field::ETHERTYPE.start + TAG_LEN;

/// What stands before the tag; of a length known to the compiler, so that it moves in registers.
type Addresses = [u8; TAG.start];

/// Does to the frame what `retag` says. `max_len` is the longest it may get, unless it is to be segmented. The frame
/// has been classified, so a tag that is to be removed or replaced is there.
///
/// # Errors
/// [`DropReason::Oversize`], [`DropReason::NoHeadroom`]; the frame is then as it was.
#[inline]
pub(super) fn apply(pool: &Mempool, mbuf: &mut Mbuf, retag: Retag, max_len: usize) -> Result<(), DropReason> {
    match retag {
        Retag::Keep => {}
        Retag::Set { tpid, tci } => write(pool.data_mut(mbuf), tpid, tci),
        Retag::Pop => {
            let head = pool.data_mut(mbuf);
            let addresses: Addresses = head[..TAG.start].try_into().unwrap_or_default();
            head[TAG_LEN..TAG.end].copy_from_slice(&addresses);
            pool.trim_front(mbuf, LEN);
            shift(pool, mbuf, |at| at.saturating_sub(LEN));
        }
        Retag::Push { tpid, tci } => {
            if mbuf.len() + TAG_LEN > max_len && !pool.is_gso(mbuf) {
                return Err(DropReason::Oversize);
            }
            let head = pool.prepend(mbuf, LEN).ok_or(DropReason::NoHeadroom)?;
            let addresses: Addresses = head[TAG_LEN..TAG.end].try_into().unwrap_or_default();
            head[..TAG.start].copy_from_slice(&addresses);
            write(head, tpid, tci);
            shift(pool, mbuf, |at| at.saturating_add(LEN));
        }
    }
    Ok(())
}

fn write(head: &mut [u8], tpid: u16, tci: u16) {
    let ([a, b], [c, d]) = (tpid.to_be_bytes(), tci.to_be_bytes());
    head[TAG].copy_from_slice(&[a, b, c, d]);
}

/// Moves what the offload state says about places behind the tag.
#[inline]
fn shift(pool: &Mempool, mbuf: &mut Mbuf, by: impl Fn(u16) -> u16) {
    if !mbuf.is_offloaded() {
        return;
    }
    let mut offload = pool.offload(mbuf);
    if offload.needs_csum {
        offload.csum_start = by(offload.csum_start);
    }
    if offload.gso != Gso::None {
        offload.hdr_len = by(offload.hdr_len);
    }
    pool.set_offload(mbuf, offload);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mem::{Arena, ArenaConfig, Hugepages, MempoolCache, Offload};
    use crate::offload::csum;

    const PUSH: Retag = Retag::Push { tpid: 0x8100, tci: 0xa005 };

    fn cache() -> MempoolCache {
        let arena = Arena::new(&ArenaConfig { frames: 64, hugepages: Hugepages::Off }).unwrap();
        MempoolCache::new(&Mempool::new(arena))
    }

    fn bytes(mem: &MempoolCache, mbuf: &Mbuf) -> Vec<u8> {
        mem.pool().segments(mbuf).flatten().copied().collect()
    }

    #[test]
    fn a_tag_goes_in_is_rewritten_and_comes_out_again() {
        let mut mem = cache();
        for len in [14usize, 60, 1514, 5000] {
            let frame: Vec<u8> = (0..len).map(|i| u8::try_from(i % 251).unwrap()).collect();
            let mut mbuf = mem.alloc_from(&frame).unwrap();
            let pool = mem.pool();
            apply(pool, &mut mbuf, PUSH, 9000).unwrap();
            let tagged = [&frame[..12], &[0x81, 0, 0xa0, 5], &frame[12..]].concat();
            assert_eq!(bytes(&mem, &mbuf), tagged, "{len} bytes");
            apply(pool, &mut mbuf, Retag::Set { tpid: 0x88a8, tci: 9 }, 9000).unwrap();
            assert_eq!(bytes(&mem, &mbuf)[12..16], [0x88, 0xa8, 0, 9]);
            apply(pool, &mut mbuf, Retag::Pop, 9000).unwrap();
            apply(pool, &mut mbuf, Retag::Keep, 9000).unwrap();
            assert_eq!(bytes(&mem, &mbuf), frame, "{len} bytes");
            mem.free(mbuf);
        }
    }

    #[test]
    fn the_checksum_left_undone_is_found_behind_the_tag() {
        let mut mem = cache();
        let mut frame = vec![7u8; 100];
        frame[12..14].copy_from_slice(&[8, 0]);
        let offload = Offload { needs_csum: true, csum_start: 34, csum_offset: 6, ..Offload::NONE };
        let complete = |mem: &mut MempoolCache, retags: &[Retag]| {
            let mut mbuf = mem.alloc_from(&frame).unwrap();
            mem.pool().set_offload(&mut mbuf, offload);
            retags.iter().for_each(|retag| apply(mem.pool(), &mut mbuf, *retag, 1522).unwrap());
            csum::complete(mem.pool(), &mut mbuf).unwrap();
            let done = bytes(mem, &mbuf);
            mem.free(mbuf);
            done
        };
        let plain = complete(&mut mem, &[]);
        assert_eq!(complete(&mut mem, &[PUSH])[16..], plain[12..]);
        assert_eq!(complete(&mut mem, &[PUSH, PUSH, Retag::Pop])[16..], plain[12..]);
    }

    #[test]
    fn headers_of_a_gso_frame_grow_and_its_length_is_not_the_mtu_s_concern() {
        let mut mem = cache();
        let mut mbuf = mem.alloc_from(&[0; 4000]).unwrap();
        let offload =
            Offload { needs_csum: true, csum_start: 34, hdr_len: 54, gso: Gso::Tcp4, gso_size: 1448, ..Offload::NONE };
        mem.pool().set_offload(&mut mbuf, offload);
        apply(mem.pool(), &mut mbuf, PUSH, 1522).unwrap();
        let grown = mem.pool().offload(&mbuf);
        assert_eq!((grown.csum_start, grown.hdr_len), (38, 58));
        mem.free(mbuf);
    }

    #[test]
    fn what_would_not_fit_is_refused_and_unchanged() {
        let mut mem = cache();
        let mut mbuf = mem.alloc_from(&[1; 1519]).unwrap();
        assert_eq!(apply(mem.pool(), &mut mbuf, PUSH, 1522), Err(DropReason::Oversize));
        assert_eq!(bytes(&mem, &mbuf), [1; 1519]);
        mem.free(mbuf);
        let mut mbuf = mem.alloc_from(&[1; 60]).unwrap();
        while mem.pool().prepend(&mut mbuf, 4).is_some() {}
        let before = bytes(&mem, &mbuf);
        assert_eq!(apply(mem.pool(), &mut mbuf, PUSH, 1522), Err(DropReason::NoHeadroom));
        assert_eq!(bytes(&mem, &mbuf), before);
        mem.free(mbuf);
    }
}
