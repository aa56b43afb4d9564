//! Frames in and out of a ring: a header of 10 or 12 bytes (virtio 1.2 §5.1.6), then the frame, spread over the buffers
//! as the guest likes.

use super::memory::{GuestMemory, Run, Unmapped};
use super::ring::{Chain, Head, MAX_MERGED, Mark, Ring, RingFault, Seg};
use super::vring::RingFeatures;
use crate::eth;
use crate::mem::{BURST_SIZE, Burst, FIRST_SEGMENT, MAX_FRAME, Mbuf, Mempool, MempoolCache, Offload};
use crate::offload::{self, gso, vnet};
use crate::stats::{DropReason, PortCounters};
use arrayvec::ArrayVec;

/// Chains that are looked at per burst, if its [`Budget`](super::ring::Budget) lasts; frames that are dropped do not fill it.
const MOST: usize = BURST_SIZE;
/// Chains whose buffers are asked for at once, before the first is copied: they lie in the cache of the guest's core.
const AHEAD: u16 = 32;

/// What a burst works with.
pub(super) struct Parts<'a> {
    pub(super) chain: &'a mut Chain,
    pub(super) features: RingFeatures,
    pub(super) mem: &'a mut MempoolCache,
    pub(super) stats: &'a PortCounters,
}

/// A position in a list of buffers.
struct Cursor<'a> {
    memory: &'a GuestMemory,
    segs: &'a [Seg],
    /// Bytes of the first that are behind us.
    done: u32,
}

impl<'a> Cursor<'a> {
    #[inline]
    fn new(memory: &'a GuestMemory, segs: &'a [Seg]) -> Self {
        Self { memory, segs, done: 0 }
    }

    /// The next piece of at most `len` bytes: where, and how long.
    #[inline]
    fn next(&mut self, len: usize) -> Option<(u64, usize)> {
        let seg = self.segs.first()?;
        let at = seg.addr.wrapping_add(self.done.into());
        let room = seg.len - self.done;
        // A length in memory of ours fits.
        let n = u32::try_from(len).unwrap_or(u32::MAX).min(room);
        if n == room {
            (self.segs, self.done) = (&self.segs[1..], 0);
        } else {
            self.done += n;
        }
        Some((at, n as usize))
    }

    #[inline]
    fn read(&mut self, mut out: &mut [u8]) -> Result<(), RingFault> {
        while !out.is_empty() {
            let Some((at, n)) = self.next(out.len()) else { return Ok(()) };
            let (now, later) = out.split_at_mut(n);
            self.memory.read(at, now).map_err(|Unmapped| RingFault::Unmapped(at))?;
            out = later;
        }
        Ok(())
    }

    #[inline]
    fn write(&mut self, mut bytes: &[u8]) -> Result<(), RingFault> {
        while !bytes.is_empty() {
            let Some((at, n)) = self.next(bytes.len()) else { return Ok(()) };
            let (now, later) = bytes.split_at(n);
            self.memory.write(at, now).map_err(|Unmapped| RingFault::Unmapped(at))?;
            bytes = later;
        }
        Ok(())
    }
}

/// Appends the frames of up to a burst of chains; whether anything was published.
///
/// While the pool is exhausted nothing is taken: frames wait in the guest.
#[inline]
pub(super) fn receive(
    ring: &mut impl Ring,
    parts: Parts<'_>,
    burst: &mut Burst,
    enabled: bool,
) -> Result<bool, RingFault> {
    let Parts { chain, features, mem, stats } = parts;
    let (mut any, mut frames, mut bytes) = (false, 0, 0);
    let mut outcome = Ok(());
    chain.budget.begin();
    ring.prefetch(AHEAD, false);
    for _ in 0..MOST.min(burst.remaining_capacity()) {
        if chain.budget.is_spent() {
            break;
        }
        let mark = ring.mark();
        chain.clear();
        let head = match ring.take(chain, false) {
            Ok(Some(head)) => head,
            Ok(None) => break,
            Err(fault) => {
                outcome = Err(fault);
                break;
            }
        };
        let verdict = match read_frame(ring.memory(), chain, head.bytes, features.header, mem) {
            Ok(Some(verdict)) => verdict,
            Ok(None) => {
                ring.rewind(mark);
                break;
            }
            Err(fault) => {
                outcome = Err(fault);
                break;
            }
        };
        ring.give(head, 0);
        any = true;
        if let Ok(mbuf) | Err((Some(mbuf), _)) = &verdict {
            chain.budget.spend_bytes(mbuf.len());
        }
        match verdict {
            Ok(mbuf) if enabled => {
                (frames, bytes) = (frames + 1, bytes + mbuf.len());
                burst.push(mbuf);
            }
            Ok(mbuf) => refuse(Some(mbuf), DropReason::LinkDown, mem, stats),
            Err((mbuf, reason)) => refuse(mbuf, reason, mem, stats),
        }
    }
    if any {
        ring.publish();
        // for the next burst, which comes when these frames are on their way
        ring.prefetch(AHEAD, false);
        stats.received(frames, bytes);
    }
    outcome.map(|()| any)
}

/// A frame that is received, and dropped at once.
#[cold]
fn refuse(mbuf: Option<Mbuf>, reason: DropReason, mem: &mut MempoolCache, stats: &PortCounters) {
    stats.received(1, mbuf.as_ref().map_or(0, Mbuf::len));
    stats.drop_n(reason, 1);
    mbuf.into_iter().for_each(|mbuf| mem.free(mbuf));
}

/// A frame, or why it is none.
type Verdict = Result<Mbuf, (Option<Mbuf>, DropReason)>;

/// The frame in a chain of `bytes` with a header of `header`; `None` if the pool is exhausted.
#[inline(always)]
fn read_frame(
    memory: &GuestMemory,
    chain: &Chain,
    bytes: u64,
    header: usize,
    mem: &mut MempoolCache,
) -> Result<Option<Verdict>, RingFault> {
    let len = match usize::try_from(bytes).ok().and_then(|all| all.checked_sub(header)) {
        None | Some(0..eth::HEADER_LEN) => return Ok(Some(Err((None, DropReason::Runt)))),
        Some(len) if len > MAX_FRAME => return Ok(Some(Err((None, DropReason::Oversize)))),
        Some(len) => len,
    };
    let mut hdr = [0; vnet::LEN];
    if let (Some(run), true) = (one_run(memory, chain.segs(), header + len), len <= FIRST_SEGMENT) {
        let Some(mut mbuf) = mem.alloc() else { return Ok(None) };
        let pool = mem.pool();
        read_header(&run, header, &mut hdr);
        pool.set_len(&mut mbuf, len);
        run.read(header, pool.data_mut(&mut mbuf));
        return Ok(Some(judge(mbuf, &hdr, pool)));
    }
    let mut from = Cursor::new(memory, chain.segs());
    from.read(&mut hdr[..header])?;
    let Some(mut mbuf) = mem.alloc_len(len) else { return Ok(None) };
    let pool = mem.pool();
    let copied = if len <= FIRST_SEGMENT {
        from.read(pool.data_mut(&mut mbuf))
    } else {
        pool.segments_mut(&mut mbuf).try_for_each(|segment| from.read(segment))
    };
    if let Err(fault) = copied {
        mem.free(mbuf);
        return Err(fault);
    }
    Ok(Some(judge(mbuf, &hdr, pool)))
}

/// The only buffer of a chain, if it has `len` bytes in one piece. The rest of the cases take more steps.
#[inline]
fn one_run<'a>(memory: &'a GuestMemory, segs: &[Seg], len: usize) -> Option<Run<'a>> {
    match segs {
        [one] if one.len as usize >= len => memory.run(one.addr, len),
        _ => None,
    }
}

/// A header of known length is a few moves, of unknown length a call.
#[inline]
fn read_header(run: &Run<'_>, header: usize, hdr: &mut [u8; vnet::LEN]) {
    if header == vnet::LEN { run.read(0, hdr) } else { run.read(0, &mut hdr[..header]) }
}

/// Believes the header, or not. What a guest says of a checksum it has verified is not worth anything.
#[inline(always)]
fn judge(mut mbuf: Mbuf, hdr: &[u8; vnet::LEN], pool: &Mempool) -> Verdict {
    match vnet::parse(hdr, pool.data(&mbuf), mbuf.len()) {
        Ok(Offload::NONE) => Ok(mbuf),
        Ok(state) => {
            pool.set_offload(&mut mbuf, state);
            Ok(mbuf)
        }
        Err(_) => Err((Some(mbuf), DropReason::BadOffload)),
    }
}

/// What a GSO frame was cut into.
type Segments = ArrayVec<Mbuf, { gso::MAX_SEGMENTS }>;

/// What became of a frame.
enum Outcome {
    /// Copied to the guest.
    Sent,
    /// No buffers.
    Full,
    /// Refused for itself.
    Refused(DropReason),
}

/// Takes frames off `burst` until the guest has no more room; whether anything was published.
#[inline]
pub(super) fn send(ring: &mut impl Ring, parts: Parts<'_>, burst: &mut Burst) -> Result<bool, RingFault> {
    let Parts { chain, features, mem, stats } = parts;
    let (mut frames, mut bytes) = (0, 0);
    let mut outcome = Ok(());
    let mut taken = 0;
    chain.budget.begin();
    ring.prefetch(u16::try_from(burst.len()).unwrap_or(AHEAD), true);
    for mbuf in burst.iter() {
        let offload = mbuf.is_offloaded().then(|| mem.pool().offload(mbuf));
        let done = if offload.is_none_or(|offload| features.offload.covers(&offload)) {
            write_frame(ring, chain, &features, (mem.pool(), mbuf, offload.as_ref()))
        } else {
            write_finished(ring, chain, &features, (mem, mbuf, stats))
        };
        match done {
            Ok(Outcome::Sent) => (frames, bytes) = (frames + 1, bytes + mbuf.len()),
            Ok(Outcome::Refused(reason)) => stats.drop_n(reason, 1),
            Ok(Outcome::Full) => break,
            Err(fault) => {
                outcome = Err(fault);
                break;
            }
        }
        taken += 1;
    }
    burst.drain(..taken).for_each(|mbuf| mem.free(mbuf));
    if taken > 0 {
        ring.publish();
        ring.prefetch(AHEAD, true);
        stats.sent(frames, bytes);
    }
    outcome.map(|()| taken > 0)
}

/// Copies one frame to the guest.
#[inline(always)]
fn write_frame(
    ring: &mut impl Ring,
    chain: &mut Chain,
    features: &RingFeatures,
    (pool, mbuf, offload): (&Mempool, &Mbuf, Option<&Offload>),
) -> Result<Outcome, RingFault> {
    let need = (features.header + mbuf.len()) as u64;
    let mark = ring.mark();
    if chain.is_too_small(mark, need) {
        return Ok(Outcome::Refused(DropReason::Oversize));
    }
    if chain.budget.is_spent() {
        return Ok(Outcome::Full);
    }
    chain.clear();
    let Some(first) = ring.take(chain, true)? else { return Ok(Outcome::Full) };
    if first.bytes < need {
        return write_merged(ring, chain, features, (pool, mbuf, offload), (mark, first));
    }
    // The usual case, without a list of chains: copying its entries waits for the stores that made them (a failed store
    // forwarding, half of all time at 64 bytes).
    let hdr = header(offload, features, 1);
    let one = one_run(ring.memory(), chain.segs(), features.header + mbuf.len());
    if let (Some(run), 1) = (one, mbuf.segments()) {
        if features.header == vnet::LEN {
            run.write(0, &hdr)
        } else {
            run.write(0, &hdr[..features.header])
        }
        run.write(features.header, pool.data(mbuf));
    } else {
        write_pieces(ring, chain, &hdr[..features.header], (pool, mbuf))?;
    }
    // At most what a frame and its header take.
    ring.give(first, u32::try_from(need).unwrap_or(u32::MAX));
    Ok(Outcome::Sent)
}

/// The header that goes with a frame in `n` chains (§5.1.6.4.1: 1 where buffers are not merged).
#[inline(always)]
fn header(offload: Option<&Offload>, features: &RingFeatures, n: usize) -> [u8; vnet::LEN] {
    let n = u16::try_from(n).unwrap_or(1);
    let Some(offload) = offload else { return vnet::build(&Offload::NONE, n) };
    vnet::build(&Offload { data_valid: offload.data_valid && features.offload.csum, ..*offload }, n)
}

fn write_pieces(ring: &impl Ring, chain: &Chain, hdr: &[u8], (pool, mbuf): (&Mempool, &Mbuf)) -> Result<(), RingFault> {
    let mut to = Cursor::new(ring.memory(), chain.segs());
    to.write(hdr)?;
    pool.segments(mbuf).try_for_each(|segment| to.write(segment))
}

/// Spreads a frame over several chains; `first` was taken since `mark` and is too short.
fn write_merged(
    ring: &mut impl Ring,
    chain: &mut Chain,
    features: &RingFeatures,
    (pool, mbuf, offload): (&Mempool, &Mbuf, Option<&Offload>),
    (mark, first): (Mark, Head),
) -> Result<Outcome, RingFault> {
    let need = (features.header + mbuf.len()) as u64;
    let mut heads = ArrayVec::<Head, MAX_MERGED>::new();
    let mut room = first.bytes;
    heads.push(first);
    while room < need {
        let full = heads.is_full() || chain.is_long() || !features.mergeable;
        match if full { None } else { ring.take(chain, true)? } {
            Some(head) => {
                room += head.bytes;
                heads.push(head);
            }
            None => {
                ring.rewind(mark);
                if !full {
                    return Ok(Outcome::Full);
                }
                // One that the guest's buffers can never hold does not keep the others waiting.
                chain.remember(mark, room);
                return Ok(Outcome::Refused(DropReason::Oversize));
            }
        }
    }
    let hdr = header(offload, features, heads.len());
    write_pieces(ring, chain, &hdr[..features.header], (pool, mbuf))?;
    give_all(ring, &heads, need);
    Ok(Outcome::Sent)
}

/// Gives the chains of one frame of `left` bytes back, each as full as it is.
fn give_all(ring: &mut impl Ring, heads: &[Head], mut left: u64) {
    for head in heads {
        let n = head.bytes.min(left);
        left -= n;
        // At most what a frame and its header take.
        ring.give(*head, u32::try_from(n).unwrap_or(u32::MAX));
    }
}

/// Finishes a frame in software, then copies what came of it; all or nothing counts as sent.
#[cold]
fn write_finished(
    ring: &mut impl Ring,
    chain: &mut Chain,
    features: &RingFeatures,
    (mem, mbuf, stats): (&mut MempoolCache, &Mbuf, &PortCounters),
) -> Result<Outcome, RingFault> {
    if chain.budget.is_spent() {
        return Ok(Outcome::Full);
    }
    // A copy: if the guest has no room the frame is its sender's again, as it was.
    let Some(copy) = mem.copy(mbuf) else { return Ok(Outcome::Refused(DropReason::NoMbuf)) };
    let mut frames = Segments::new();
    match offload::finish(mem, copy, &mut |frame| frames.push(frame)) {
        Ok(n) => {
            stats.tx_checksums.add(n as u64);
            if n > 1 {
                stats.tx_segments.add(n as u64);
            }
        }
        Err(refused) => {
            let reason = refused.reason();
            mem.free(refused.mbuf);
            return Ok(Outcome::Refused(reason));
        }
    }
    let mut outcome = Ok(Outcome::Sent);
    let mut sent = 0;
    for frame in &frames {
        outcome = write_frame(ring, chain, features, (mem.pool(), frame, None));
        if !matches!(outcome, Ok(Outcome::Sent)) {
            break;
        }
        sent += 1;
    }
    let cut_short = sent > 0 && matches!(outcome, Ok(Outcome::Full));
    frames.drain(..).for_each(|frame| mem.free(frame));
    // Segments that did go out cannot be taken back: the frame counts as dropped, and is not sent twice.
    if cut_short { Ok(Outcome::Refused(DropReason::TxFull)) } else { outcome }
}
