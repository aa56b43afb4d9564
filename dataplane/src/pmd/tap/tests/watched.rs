//! Queues that are idle, and watched by io_uring.

use super::*;

/// Looks at an idle queue until the kernel watches it.
fn until_watched(tap: &mut Tap, mem: &mut MempoolCache, stats: &PortCounters) {
    let (mut burst, start) = (Burst::new(), Instant::now());
    while !tap.watch.as_mut().expect("io_uring").is_quiet() {
        assert!(start.elapsed() < Duration::from_secs(10), "never idle");
        tap.rx_burst(&mut burst, mem, stats);
        mem.free_burst(&mut burst);
    }
}

/// The payloads of the next `n` datagrams.
fn payloads(tap: &mut Tap, mem: &mut MempoolCache, stats: &PortCounters, n: usize) -> Vec<Vec<u8>> {
    let (mut burst, mut found, start) = (Burst::new(), Vec::new(), Instant::now());
    while found.len() < n {
        assert!(start.elapsed() < Duration::from_secs(10), "{} of {n} frames", found.len());
        tap.rx_burst(&mut burst, mem, stats);
        let datagrams = burst.iter().map(|mbuf| mem.pool().data(mbuf)).filter(|frame| is_udp(frame));
        found.extend(datagrams.map(|frame| frame[42..].to_vec()));
        mem.free_burst(&mut burst);
    }
    found
}

#[test]
fn a_watched_queue_notices_every_frame() {
    if !privileged("a_watched_queue_notices_every_frame") {
        return;
    }
    let pool = pool(1024);
    in_netns(|| {
        let (mut tap, mut mem, stats) = (tap_with_neighbour(), MempoolCache::new(&pool), PortCounters::default());
        let socket = UdpSocket::bind("10.0.0.1:0").unwrap();
        for n in 0..50u8 {
            until_watched(&mut tap, &mut mem, &stats);
            for m in 0..n % 3 + 1 {
                socket.send_to(&[n, m], "10.0.0.2:9").unwrap();
            }
            let sent: Vec<[u8; 2]> = (0..n % 3 + 1).map(|m| [n, m]).collect();
            assert_eq!(payloads(&mut tap, &mut mem, &stats, sent.len()), sent);
        }
        tap.close(&mut mem);
    });
    assert_eq!(pool.free(), 1024);
}

#[test]
fn a_device_that_goes_while_it_is_watched_is_a_fault() {
    if !privileged("a_device_that_goes_while_it_is_watched_is_a_fault") {
        return;
    }
    let pool = pool(1024);
    in_netns(|| {
        let (mut tap, mut mem, stats) = (tap_with_neighbour(), MempoolCache::new(&pool), PortCounters::default());
        until_watched(&mut tap, &mut mem, &stats);
        ip("link del t0");
        let (mut burst, start) = (Burst::new(), Instant::now());
        while tap.fault().is_none() {
            assert!(start.elapsed() < Duration::from_secs(10), "no fault");
            tap.rx_burst(&mut burst, &mut mem, &stats);
        }
        tap.close(&mut mem);
    });
    assert_eq!(pool.free(), 1024);
}

/// Control makes a queue, a worker uses it, control closes it; and what another thread does with it is no worse than
/// no watch.
#[test]
fn a_watched_queue_changes_threads_and_its_name_is_free_afterwards() {
    if !privileged("a_watched_queue_changes_threads_and_its_name_is_free_afterwards") {
        return;
    }
    let pool = pool(1024);
    in_netns(|| {
        let (mut tap, socket) = (tap_with_neighbour(), UdpSocket::bind("10.0.0.1:0").unwrap());
        for leaves in [false, true] {
            thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut mem, stats) = (MempoolCache::new(&pool), PortCounters::default());
                    if !leaves {
                        until_watched(&mut tap, &mut mem, &stats);
                    }
                    socket.send_to(&[7], "10.0.0.2:9").unwrap();
                    let mbuf = receive(&mut tap, &mut mem, &stats, is_udp);
                    mem.free(mbuf);
                    if leaves {
                        tap.leave();
                    }
                });
            });
        }
        tap.close(&mut MempoolCache::new(&pool));

        let mut port = open_tap("t1", 1);
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut mem, stats) = (MempoolCache::new(&pool), PortCounters::default());
                until_watched(&mut port.queues[0], &mut mem, &stats);
                port.queues[0].leave();
            });
        });
        drop(port);
        let start = Instant::now();
        while open(&config("t1", 1)).is_err() {
            assert!(start.elapsed() < Duration::from_secs(10), "the name is never free again");
        }
    });
    assert_eq!(pool.free(), 1024);
}
