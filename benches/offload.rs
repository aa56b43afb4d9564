//! What offloads cost in software: checksums against memcpy, finding partial checksums, cutting up 64 KiB.
//!
//! `cargo bench --bench offload`. Single-threaded, data in L1/L2: memcpy of the same bytes is the yardstick, since both
//! read every byte once.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use dataplane::mem::{Arena, ArenaConfig, Gso, Hugepages, Mbuf, Mempool, MempoolCache, Offload};
use dataplane::offload::{csum, detect, finish, gso, parse, vnet};
use std::hint::black_box;
use std::time::Duration;

/// Ethernet, IPv4 and TCP without options.
const HEADERS: usize = 54;

/// TCP over IPv4 with the pseudo-header sum in the checksum field, `payload` bytes.
fn tcp4(payload: usize) -> Vec<u8> {
    let total = u16::try_from(HEADERS - 14 + payload).unwrap();
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0, 0x45, 0];
    frame.extend(total.to_be_bytes());
    frame.extend([0, 1, 0x40, 0, 64, parse::TCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    frame.extend([0x13, 0x88, 0x13, 0x89, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0]);
    frame.extend((0..payload).map(|i| u8::try_from(i % 251).unwrap()));
    let l4 = parse::find_l4(&frame).unwrap();
    let check = csum::pseudo_header(&frame, &l4, 20 + payload).unwrap().fold();
    frame[50..52].copy_from_slice(&check.to_be_bytes());
    frame
}

fn pool() -> MempoolCache {
    let arena = Arena::new(&ArenaConfig { frames: 4096, hugepages: Hugepages::Auto }).unwrap();
    MempoolCache::new(&Mempool::new(arena))
}

fn checksum(c: &mut Criterion) {
    let mut group = c.benchmark_group("checksum");
    for len in [64usize, 1500, 65_000] {
        let (from, mut to) = (vec![7u8; len], vec![0u8; len]);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_with_input(BenchmarkId::new("sum", len), &from, |b, from| b.iter(|| csum::sum(black_box(from))));
        group.bench_with_input(BenchmarkId::new("memcpy", len), &from, |b, from| {
            b.iter(|| black_box(&mut to[..]).copy_from_slice(black_box(from)));
        });
    }
    group.finish();
}

fn complete(c: &mut Criterion) {
    let mut mem = pool();
    let offload = Offload { csum_start: 34, csum_offset: 16, needs_csum: true, ..Offload::NONE };
    let mut group = c.benchmark_group("complete");
    for payload in [6usize, 1446] {
        let mut mbuf = mem.alloc_from(&tcp4(payload)).unwrap();
        group.bench_function(BenchmarkId::from_parameter(HEADERS + payload), |b| {
            b.iter(|| {
                mem.pool().set_offload(&mut mbuf, offload);
                csum::complete(mem.pool(), black_box(&mut mbuf))
            });
        });
        mem.free(mbuf);
    }
    group.finish();
}

fn detect(c: &mut Criterion) {
    let mut group = c.benchmark_group("detect_partial");
    let partial = tcp4(1446);
    let mut complete = partial.clone();
    complete[50] ^= 0x55;
    let mut no_checksum = partial.clone();
    (no_checksum[23], no_checksum[40], no_checksum[41]) = (parse::UDP, 0, 0);
    let mut arp = partial.clone();
    arp[13] = 6;
    for (name, frame) in [("partial", partial), ("complete", complete), ("udp-0", no_checksum), ("arp", arp)] {
        group.bench_function(name, |b| b.iter(|| detect::detect_partial(black_box(&frame), frame.len())));
    }
    group.finish();
}

fn super_frame(mem: &mut MempoolCache) -> Mbuf {
    let mut mbuf = mem.alloc_from(&tcp4(64_000)).unwrap();
    let offload =
        Offload { csum_start: 34, csum_offset: 16, gso: Gso::Tcp4, gso_size: 1460, hdr_len: 54, ..Offload::NONE };
    mem.pool().set_offload(&mut mbuf, Offload { needs_csum: true, ..offload });
    mbuf
}

/// Frees what `work` makes of a super-frame, as an egress does.
fn cut(c: &mut Criterion) {
    let mut group = c.benchmark_group("64k");
    group.throughput(Throughput::Bytes(64_000));
    let mut mem = pool();
    let frame = super_frame(&mut mem);
    let mut out: Vec<Mbuf> = Vec::with_capacity(gso::MAX_SEGMENTS);
    group.bench_function("segment", |b| {
        b.iter(|| {
            let n = gso::segment(&mut mem, black_box(&frame), &mut |m| out.push(m));
            out.drain(..).for_each(|m| mem.free(m));
            n
        });
    });
    group.bench_function("copy", |b| {
        b.iter(|| {
            let copy = mem.copy(black_box(&frame)).unwrap();
            mem.free(copy);
        });
    });
    group.bench_function("copy+segment+complete", |b| {
        b.iter(|| {
            let copy = mem.copy(black_box(&frame)).unwrap();
            let n = finish(&mut mem, copy, &mut |m| out.push(m)).unwrap();
            out.drain(..).for_each(|m| mem.free(m));
            n
        });
    });
    mem.free(frame);
    group.finish();
}

fn header(c: &mut Criterion) {
    let frame = tcp4(1446);
    let mut group = c.benchmark_group("vnet");
    let partial = Offload { csum_start: 34, csum_offset: 16, needs_csum: true, ..Offload::NONE };
    let gso = Offload { gso: Gso::Tcp4, gso_size: 1000, hdr_len: 54, ..partial };
    for (name, offload) in [("none", Offload::NONE), ("csum", partial), ("gso", gso)] {
        let hdr = vnet::build(&offload, 0);
        group.bench_function(name, |b| b.iter(|| vnet::parse(black_box(&hdr), black_box(&frame), frame.len())));
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = checksum, complete, detect, cut, header
}
criterion_main!(benches);
