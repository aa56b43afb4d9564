//! Against the real kernel, each test in network namespaces of its own: they end with the test's threads.

use super::*;
use crate::mem::{Arena, ArenaConfig, Gso, Hugepages, Offload};
use crate::stats::PortStats;
use nix::sched::{CloneFlags, unshare};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 2];
const THEIRS: [u8; 6] = [2, 0, 0, 0, 0, 1];

fn pool(frames: u32) -> Arc<Mempool> {
    Mempool::new(Arena::new(&ArenaConfig { frames, hugepages: Hugepages::Off }).unwrap())
}

/// Whether privileged tests can run; says so by name if not, and fails if they were promised.
fn privileged(test: &str) -> bool {
    let root = nix::unistd::geteuid().is_root();
    assert!(root || std::env::var_os("PRIVILEGED_TESTS").is_none(), "{test}: PRIVILEGED_TESTS is set, but not root");
    if !root {
        eprintln!("skipped {test}: needs root");
    }
    root
}

/// Runs `f` on a thread in a fresh network namespace.
fn in_netns<T: Send>(f: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let thread = scope.spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            f()
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn ip(args: &str) {
    let done = Command::new("ip").args(args.split(' ')).status().unwrap();
    assert!(done.success(), "ip {args}");
}

fn config(ifname: &str, queues: u16) -> TapConfig {
    TapConfig { ifname: ifname.into(), queues, idle: IdleLook::Auto }
}

fn open_tap(ifname: &str, queues: u16) -> TapPort {
    open(&config(ifname, queues)).unwrap()
}

/// A TAP that is up at 10.0.0.1, with a neighbour 10.0.0.2 that is us.
fn tap_with_neighbour() -> Tap {
    let mut port = open_tap("t0", 1);
    ip("link set t0 address 02:00:00:00:00:01 mtu 1500 up");
    ip("addr add 10.0.0.1/24 dev t0");
    ip("neigh add 10.0.0.2 lladdr 02:00:00:00:00:02 dev t0");
    port.queues.pop().unwrap()
}

/// Reads until `wanted` returns true for a frame, freeing the others.
fn receive(tap: &mut Tap, mem: &mut MempoolCache, stats: &PortCounters, wanted: impl Fn(&[u8]) -> bool) -> Mbuf {
    let (mut burst, start) = (Burst::new(), Instant::now());
    let mut found = None;
    while found.is_none() {
        assert!(start.elapsed() < Duration::from_secs(10), "no such frame");
        tap.rx_burst(&mut burst, mem, stats);
        for mbuf in burst.drain(..) {
            if found.is_none() && wanted(mem.pool().data(&mbuf)) { found = Some(mbuf) } else { mem.free(mbuf) }
        }
    }
    found.unwrap()
}

/// UDP over IPv4, not a neighbour discovery or such.
fn is_udp(frame: &[u8]) -> bool {
    frame[12..14] == [8, 0] && frame[23] == 17
}

/// A UDP datagram from 10.0.0.2:7 to 10.0.0.1:`port` whose checksum is the pseudo-header sum.
fn datagram(port: u16, payload: &[u8]) -> Vec<u8> {
    let udp_len = u16::try_from(8 + payload.len()).unwrap();
    let mut frame = [&THEIRS[..], &OURS, &[8, 0, 0x45, 0]].concat();
    frame.extend((udp_len + 20).to_be_bytes());
    frame.extend([0, 0, 0x40, 0, 64, 17, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1]);
    let check = !offload::csum::sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&check.to_be_bytes());
    frame.extend([0, 7]);
    frame.extend(port.to_be_bytes());
    frame.extend(udp_len.to_be_bytes());
    let l4 = offload::parse::find_l4(&frame).unwrap();
    frame.extend(offload::csum::pseudo_header(&frame, &l4, udp_len.into()).unwrap().fold().to_be_bytes());
    frame.extend(payload);
    frame
}

const UDP_PARTIAL: Offload = Offload { csum_start: 34, csum_offset: 6, needs_csum: true, ..Offload::NONE };

fn stats_of(counters: &PortCounters) -> PortStats {
    let mut stats = PortStats::default();
    stats.add(counters);
    stats
}

fn dropped(counters: &PortCounters) -> Vec<(DropReason, u64)> {
    stats_of(counters).dropped().collect()
}

#[test]
fn what_the_kernel_would_refuse_is_refused_with_a_remedy() {
    for bad in ["", "a234567890123456", "a b", "a/b", "tap%d", ".", "eth0:1"] {
        let error = open(&config(bad, 1)).unwrap_err();
        assert!(matches!(error, TapError::BadName(_)), "{bad:?}: {error}");
    }
    for queues in [0, 257] {
        let error = open(&config("t0", queues)).unwrap_err();
        assert!(error.to_string().contains("use 1 to 256"), "{error}");
    }
}

#[test]
fn a_name_can_be_taken_once_and_is_free_after_the_last_queue() {
    if !privileged("a_name_can_be_taken_once_and_is_free_after_the_last_queue") {
        return;
    }
    in_netns(|| {
        let port = open_tap("t0", 3);
        assert_eq!((port.queues.len(), port.offloads.as_str()), (3, "csum,tso4,tso6,ecn,uso"));
        for queues in [1, 3] {
            let error = open(&config("t0", queues)).unwrap_err();
            assert!(matches!(error, TapError::Taken(_)), "{error}");
        }
        drop(port);
        // Another test's child process holds copies of our descriptors until it executes `ip`.
        let start = Instant::now();
        while open(&config("t0", 1)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "the name is never free again");
        }
        let error = open(&config("lo", 1)).unwrap_err();
        assert!(error.to_string().contains("ip link del lo"), "{error}");
    });
}

#[test]
fn frames_go_both_ways_and_the_pool_balances() {
    if !privileged("frames_go_both_ways_and_the_pool_balances") {
        return;
    }
    let pool = pool(1024);
    in_netns(|| {
        let (mut tap, mut mem, stats) = (tap_with_neighbour(), MempoolCache::new(&pool), PortCounters::default());
        let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        for n in [0, 1, 18, 500, 1472] {
            let content = vec![7; n];
            socket.send_to(&content, "10.0.0.2:9").unwrap();
            let mbuf = receive(&mut tap, &mut mem, &stats, is_udp);
            assert_eq!((mbuf.len(), mbuf.segments()), (42 + n, 1));
            assert_eq!(pool.data(&mbuf)[42..], content);
            assert_eq!(pool.offload(&mbuf), UDP_PARTIAL);
            mem.free(mbuf);

            for features in [Features::ALL, Features::default()] {
                tap.features = features;
                let mut mbuf = mem.alloc_from(&datagram(port, &content)).unwrap();
                pool.set_offload(&mut mbuf, UDP_PARTIAL);
                let mut burst = Burst::new();
                burst.push(mbuf);
                assert_eq!((tap.tx_burst(&mut burst, &mut mem, &stats), burst.len()), (1, 0));
                let mut got = [0; 2000];
                let (len, from) = socket.recv_from(&mut got).unwrap();
                assert_eq!((&got[..len], from.to_string().as_str()), (&content[..], "10.0.0.2:7"));
            }
        }
        assert_eq!((stats.tx_frames.get(), stats.tx_checksums.get(), stats.tx_segments.get()), (10, 5, 0));
        assert_eq!(dropped(&stats), []);
        tap.close(&mut mem);
    });
    assert_eq!(pool.free(), 1024);
}

#[test]
fn a_super_frame_arrives_as_a_chain() {
    if !privileged("a_super_frame_arrives_as_a_chain") {
        return;
    }
    let pool = pool(1024);
    in_netns(|| {
        let (mut tap, mut mem, stats) = (tap_with_neighbour(), MempoolCache::new(&pool), PortCounters::default());
        let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
        nix::sys::socket::setsockopt(&socket, nix::sys::socket::sockopt::UdpGsoSegment, &1024).unwrap();
        let content: Vec<u8> = (0..60_000u32).map(|i| i.to_le_bytes()[0] ^ i.to_le_bytes()[1]).collect();
        for _ in 0..20 {
            socket.send_to(&content, "10.0.0.2:9").unwrap();
            let mut mbuf = receive(&mut tap, &mut mem, &stats, is_udp);
            let all: Vec<u8> = pool.segments(&mbuf).flatten().copied().collect();
            assert_eq!((mbuf.len(), all[42..] == content), (60_042, true));
            let expected = Offload { gso: Gso::Udp, gso_size: 1024, hdr_len: 42, ..UDP_PARTIAL };
            assert_eq!(pool.offload(&mbuf), expected);

            // and back, in the chain it came in
            let target = socket.local_addr().unwrap().port();
            pool.data_mut(&mut mbuf)[..34].copy_from_slice(&datagram(target, &content)[..34]);
            let head = datagram(target, &content);
            pool.data_mut(&mut mbuf)[34..42].copy_from_slice(&head[34..42]);
            let mut burst = Burst::new();
            burst.push(mbuf);
            assert_eq!(tap.tx_burst(&mut burst, &mut mem, &stats), 1);
            let mut echo: Vec<u8> = Vec::new();
            while echo.len() < content.len() {
                let mut part = [0; 2000];
                let n = socket.recv(&mut part).unwrap();
                echo.extend(&part[..n]);
            }
            assert!(echo == content);
        }
        assert_eq!(dropped(&stats), []);
        drop(tap);
    });
    assert_eq!(pool.free(), 1024);
}

#[test]
fn down_drops_and_gone_is_a_fault() {
    if !privileged("down_drops_and_gone_is_a_fault") {
        return;
    }
    let pool = pool(1024);
    in_netns(|| {
        let (mut tap, mut mem, stats) = (tap_with_neighbour(), MempoolCache::new(&pool), PortCounters::default());
        let send = |tap: &mut Tap, mem: &mut MempoolCache| {
            let mut burst: Burst = (0..5).map(|_| mem.alloc_from(&datagram(9, b"x")).unwrap()).collect();
            assert_eq!(tap.tx_burst(&mut burst, mem, &stats), 5);
        };
        ip("link set t0 down");
        send(&mut tap, &mut mem);
        assert_eq!(dropped(&stats), [(DropReason::LinkDown, 5)]);
        assert!(tap.fault().is_none());
        ip("link set t0 up");
        send(&mut tap, &mut mem);
        assert_eq!(stats.tx_frames.get(), 5);

        ip("link del t0");
        let mut burst = Burst::new();
        while tap.fault().is_none() {
            tap.rx_burst(&mut burst, &mut mem, &stats);
            mem.free_burst(&mut burst);
        }
        send(&mut tap, &mut mem);
        assert_eq!(dropped(&stats), [(DropReason::LinkDown, 10)]);
        tap.close(&mut mem);
    });
    assert_eq!(pool.free(), 1024);
}

#[test]
fn what_one_frame_is_refused_for_does_not_stop_the_next() {
    if !privileged("what_one_frame_is_refused_for_does_not_stop_the_next") {
        return;
    }
    let pool = pool(1024);
    in_netns(|| {
        let (mut tap, mut mem, stats) = (tap_with_neighbour(), MempoolCache::new(&pool), PortCounters::default());
        let good = datagram(9, b"payload");
        let mut burst: Burst = (0..3).map(|_| mem.alloc_from(&good).unwrap()).collect();
        // The kernel refuses a checksum outside the frame, and we refuse to complete one.
        pool.set_offload(&mut burst[1], Offload { csum_start: 500, ..UDP_PARTIAL });
        assert_eq!(tap.tx_burst(&mut burst, &mut mem, &stats), 3);
        tap.features = Features::default();
        let mut lying = mem.alloc_from(&good).unwrap();
        pool.set_offload(&mut lying, Offload { csum_start: 500, ..UDP_PARTIAL });
        burst.push(lying);
        assert_eq!(tap.tx_burst(&mut burst, &mut mem, &stats), 1);
        assert_eq!(dropped(&stats), [(DropReason::BadOffload, 1), (DropReason::TxError, 1)]);
        assert_eq!(stats.tx_frames.get(), 2);
        tap.close(&mut mem);
    });
    assert_eq!(pool.free(), 1024);
}

#[test]
fn an_exhausted_pool_leaves_frames_in_the_kernel() {
    if !privileged("an_exhausted_pool_leaves_frames_in_the_kernel") {
        return;
    }
    let pool = pool(1024);
    in_netns(|| {
        let (mut tap, mut mem, stats) = (tap_with_neighbour(), MempoolCache::new(&pool), PortCounters::default());
        let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
        let hoard: Vec<Mbuf> = std::iter::from_fn(|| mem.alloc()).collect();
        socket.send_to(b"wait", "10.0.0.2:9").unwrap();
        let mut burst = Burst::new();
        assert_eq!(tap.rx_burst(&mut burst, &mut mem, &stats), 0);
        assert_eq!(stats.rx_frames.get(), 0);
        hoard.into_iter().for_each(|m| mem.free(m));
        let mbuf = receive(&mut tap, &mut mem, &stats, is_udp);
        assert_eq!(pool.data(&mbuf)[42..], *b"wait");
        mem.free(mbuf);
        tap.close(&mut mem);
    });
    assert_eq!(pool.free(), 1024);
}

/// Bytes of each TCP transfer.
const TRANSFER: usize = 16 << 20;

fn pattern(at: usize) -> u8 {
    let bytes = (at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes();
    bytes[0]
}

/// A TAP in this thread's namespace, with an IPv4 and an IPv6 address that end in `host`.
fn tap_at(host: u8) -> Tap {
    let mut port = open_tap("t0", 1);
    ip("link set t0 up");
    ip(&format!("addr add 10.0.0.{host}/24 dev t0"));
    ip(&format!("addr add fd00::{host}/64 dev t0 nodad"));
    port.queues.pop().unwrap()
}

fn checksum_errors() -> Vec<String> {
    let snmp = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let mut lines = snmp.lines().filter(|l| l.starts_with("Tcp:")).map(|l| l.split(' '));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    names.zip(values).filter(|(name, _)| *name == "InCsumErrors").map(|(_, v)| v.to_owned()).collect()
}

/// Receives one transfer per address and checks every byte.
fn server(taps: &Sender<Tap>, barrier: &Barrier) {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    taps.send(tap_at(1)).unwrap();
    for address in ["10.0.0.1", "fd00::1"] {
        let listener = TcpListener::bind(SocketAddr::new(address.parse::<IpAddr>().unwrap(), 5000)).unwrap();
        barrier.wait();
        let (mut stream, mut got) = (listener.accept().unwrap().0, Vec::new());
        stream.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), TRANSFER);
        assert!(got.iter().enumerate().all(|(i, byte)| *byte == pattern(i)), "bytes were changed");
    }
    assert_eq!(checksum_errors(), ["0"]);
}

fn client(taps: &Sender<Tap>, barrier: &Barrier) {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    taps.send(tap_at(2)).unwrap();
    let content: Vec<u8> = (0..TRANSFER).map(pattern).collect();
    for address in ["10.0.0.1", "fd00::1"] {
        barrier.wait();
        let mut stream = TcpStream::connect(SocketAddr::new(address.parse::<IpAddr>().unwrap(), 5000)).unwrap();
        stream.write_all(&content).unwrap();
    }
    assert_eq!(checksum_errors(), ["0"]);
}

/// Moves frames between two TAPs while `running`. Returns the longest frame.
fn patch(
    taps: &Receiver<Tap>,
    features: Features,
    pool: &Arc<Mempool>,
    running: impl Fn() -> bool,
) -> (usize, PortStats) {
    let mut mem = MempoolCache::new(pool);
    let mut ends = [taps.recv().unwrap(), taps.recv().unwrap()];
    ends.iter_mut().for_each(|tap| tap.features = features);
    let (stats, mut burst, mut longest) = (PortCounters::default(), Burst::new(), 0);
    while running() {
        for from in [0, 1] {
            ends[from].rx_burst(&mut burst, &mut mem, &stats);
            longest = burst.iter().map(Mbuf::len).fold(longest, usize::max);
            ends[1 - from].tx_burst(&mut burst, &mut mem, &stats);
            mem.free_burst(&mut burst);
        }
    }
    ends.into_iter().for_each(|tap| tap.close(&mut mem));
    (longest, stats_of(&stats))
}

/// TCP over IPv4 and IPv6 between two namespaces; what went through.
fn tcp_through(features: Features) -> PortStats {
    let pool = pool(4096);
    let (taps, ends) = channel();
    let barrier = Barrier::new(2);
    let (longest, stats) = thread::scope(|scope| {
        let threads = [scope.spawn(|| server(&taps, &barrier)), scope.spawn(|| client(&taps, &barrier))];
        patch(&ends, features, &pool, || threads.iter().any(|t| !t.is_finished()))
    });
    assert!(longest > 30_000, "longest frame {longest}");
    assert_eq!((stats.balance(), pool.free()), (0, 4096), "{stats:?}");
    stats
}

#[test]
fn tcp_passes_between_taps_as_super_frames() {
    if privileged("tcp_passes_between_taps_as_super_frames") {
        let stats = tcp_through(Features::ALL);
        assert_eq!((stats.tx_segments, stats.tx_checksums), (0, 0));
    }
}

#[test]
fn tcp_passes_when_all_is_done_in_software() {
    if privileged("tcp_passes_when_all_is_done_in_software") {
        let stats = tcp_through(Features::default());
        assert!(stats.tx_segments > 2 * TRANSFER as u64 / 1460 / 2 && stats.tx_checksums >= stats.tx_segments);
    }
}

mod watched;
