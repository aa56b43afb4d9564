//! Guests on a wire, and on switches that are none.

use super::frontend::{VERSION_1, request};
use super::*;
use crate::frame::Sizes;
use crate::{Flow, Outcome, Schedule, Station, Trial};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::thread;

const A: [u8; 6] = [2, 0, 0, 0, 0, 1];
const B: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn stream(size: u16) -> Stream {
    Stream::new(0, A, B, Sizes::Fixed(size))
}

/// Runs flows from end to end of a wire that is carried meanwhile; the second guest may be slow.
fn trial(flows: Vec<Flow>, limit: Option<u64>) -> Outcome {
    let (mut stations, mut wire) = Station::wired().unwrap();
    stations[1].limit(limit);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Acquire) {
                wire.carry();
                thread::yield_now();
            }
        });
        let outcome = Trial::new(flows).run(&mut stations).unwrap();
        over.store(true, Release);
        outcome
    })
}

fn flow(size: u16, frames: u64, from: usize) -> Flow {
    Flow { stream: stream(size), schedule: Schedule::at_once(frames), from, to: vec![1 - from] }
}

/// A guest whose switch is the test, and one frame sent.
fn guest() -> Guest {
    let mut guest = Guest::new("test").unwrap();
    assert_eq!(guest.send(&stream(64), 0..1, |_| 0), 1);
    guest.kick().unwrap();
    guest
}

/// The test uses a descriptor.
fn use_up(guest: &Guest, vring: usize, index: u16, id: u32, len: u32) {
    let at = memory::used_entry(vring, index);
    guest.memory.put(at, id, Relaxed);
    guest.memory.put(at + 4, len, Relaxed);
    guest.memory.put(memory::index(memory::used(vring)), index.wrapping_add(1), Release);
}

/// What the guest says of its switch.
fn complaint(guest: &mut Guest) -> String {
    guest.receive(64, 0, |_| {});
    guest.kick().unwrap_err().to_string()
}

#[test]
fn frames_of_all_lengths_arrive_whole() {
    for size in [64, 65, 1518, 4100, 4101, 9018] {
        let outcome = trial(vec![flow(size, 3000, 0), flow(size, 3000, 1)], None);
        assert_eq!((outcome.received(), outcome.lost(), outcome.missed), (6000, 0, 0), "{size}");
        assert_eq!(outcome.faults(), [""; 0], "{size}");
    }
}

#[test]
fn indexes_wrap_around() {
    let outcome = trial(vec![flow(64, 70_000, 0)], None);
    assert_eq!((outcome.received(), outcome.lost()), (70_000, 0));
    assert_eq!(outcome.faults(), [""; 0]);
}

#[test]
fn a_sender_is_held_up_by_whoever_is_slow_and_loses_nothing() {
    let outcome = trial(vec![flow(64, 10_000, 0)], Some(100_000));
    assert_eq!(outcome.lost(), 0);
    assert!(outcome.held > 0);
}

#[test]
fn a_descriptor_comes_back_to_be_sent_again() {
    let mut guest = guest();
    assert!(!guest.is_done());
    use_up(&guest, TX, 0, 0, 0);
    guest.kick().unwrap();
    assert!(guest.is_done());
    assert_eq!(guest.send(&stream(64), 0..2000, |_| 0), u64::from(SIZE), "no more than there are");
}

#[test]
fn descriptors_nobody_offered_are_refused() {
    for id in [1, u32::from(SIZE), 0x1_0000, u32::MAX] {
        let mut guest = guest();
        use_up(&guest, TX, 0, id, 0);
        assert!(complaint(&mut guest).contains(&format!("used descriptor {id}")), "{id}");
        let mut guest = self::guest();
        use_up(&guest, RX, 0, id | 1 << 10, 72);
        assert!(complaint(&mut guest).contains("used descriptor"), "{id}");
    }
}

#[test]
fn a_descriptor_comes_back_once() {
    let mut guest = guest();
    assert_eq!(guest.send(&stream(64), 1..3, |_| 0), 2);
    guest.kick().unwrap();
    use_up(&guest, TX, 0, 0, 0);
    use_up(&guest, TX, 1, 0, 0);
    assert!(complaint(&mut guest).contains("used descriptor 0"));
}

#[test]
fn lengths_and_indexes_beyond_reason_are_refused() {
    type Wrong = fn(&Guest);
    let all: [(Wrong, &str); 4] = [
        (|guest| use_up(guest, RX, 0, 0, u32::from(LONGEST) + 13), "with 9229 bytes"),
        (|guest| use_up(guest, RX, 0, 0, 11), "shorter than its header"),
        (|guest| use_up(guest, TX, 1, 0, 0), "its used index says 2 descriptors, it has 1"),
        (|guest| use_up(guest, RX, SIZE, 0, 0), "its used index says 1025 descriptors, it has 1024"),
    ];
    for (wrong, said) in all {
        let mut guest = guest();
        wrong(&guest);
        let complaint = complaint(&mut guest);
        assert!(complaint.contains(said), "{complaint}");
    }
}

#[test]
fn a_frame_in_many_buffers_is_one_frame_and_not_ours() {
    let mut guest = guest();
    let count = |n: u16| guest.memory.put(memory::header(RX, 5) + BUFFERS_FIELD, n, Relaxed);
    count(2);
    use_up(&guest, RX, 0, 5, 9228);
    use_up(&guest, RX, 1, 7, 100);
    let mut seen = Vec::new();
    assert_eq!(guest.receive(64, 9, |arrival| seen.push((arrival.len, arrival.rest_is_whole, arrival.seen))), 1);
    assert_eq!(seen, [(9216, false, 9)]);
    guest.kick().unwrap();
    use_up(&guest, RX, 2, 6, 100);
    guest.memory.put(memory::header(RX, 6) + BUFFERS_FIELD, u16::MAX, Relaxed);
    assert!(complaint(&mut guest).contains("65535 buffers of 1"));
}

#[test]
fn a_guest_that_takes_little_leaves_its_ring_full() {
    let ([mut from, mut to], mut wire) = Guest::wired().unwrap();
    let mut taken = 0;
    for turn in 0..200 {
        taken += to.receive(1, 1, |_| {});
        to.kick().unwrap();
        from.send(&stream(64), turn * 32..(turn + 1) * 32, |_| 0);
        from.kick().unwrap();
        wire.carry();
    }
    assert_eq!(taken, 199, "one a turn, from the second on");
    // the one descriptor is that of the frame taken last
    assert_eq!((from.spare.len(), to.rx.waiting()), (1, Ok(SIZE)), "all that could be sent was, and lies in the ring");
}

/// Answers a front end as a switch with `features` does until it hangs up after `most` messages; the requests.
fn switch(listener: &UnixListener, features: u64, most: usize) -> Vec<u32> {
    let (mut stream, _) = listener.accept().unwrap();
    let mut requests = Vec::new();
    while requests.len() < most {
        let Some((request, _)) = message(&mut stream) else { break };
        requests.push(request);
        if request == request::GET_FEATURES {
            let head = [request, 5, 8].map(u32::to_le_bytes);
            stream.write_all(&[head.as_flattened(), &features.to_le_bytes()].concat()).unwrap();
        }
    }
    requests
}

fn message(stream: &mut UnixStream) -> Option<(u32, Vec<u8>)> {
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    let mut body = vec![0; usize::from(head[8])];
    stream.read_exact(&mut body).ok()?;
    Some((u32::from(head[0]), body))
}

#[test]
fn a_switch_is_told_everything_and_missed_when_it_hangs_up() {
    let path = std::env::temp_dir().join(format!("traffic-guest-{}.sock", std::process::id()));
    let listener = UnixListener::bind(&path).unwrap();
    thread::scope(|scope| {
        let done = scope.spawn(|| switch(&listener, VERSION_1, 17));
        let mut guest = Guest::connect(&path).unwrap();
        let requests = done.join().unwrap();
        assert_eq!(requests, [3, 1, 2, 5, 8, 10, 9, 13, 12, 18, 8, 10, 9, 13, 12, 18, 1]);
        let died = (0..2 * GLANCE).find_map(|_| guest.kick().err()).unwrap();
        assert!(matches!(&died, TrafficError::Dead { what, .. } if what == "the switch hung up"), "{died}");

        let old = scope.spawn(|| switch(&listener, 0, 17));
        let refused = Guest::connect(&path).unwrap_err().to_string();
        assert!(refused.contains("VIRTIO_F_VERSION_1"), "{refused}");
        assert_eq!(old.join().unwrap(), [3, 1]);
    });
    std::fs::remove_file(&path).unwrap();
    let nobody = Guest::connect(&path).unwrap_err();
    assert!(
        matches!(&nobody, TrafficError::Guest { source, .. } if source.kind() == io::ErrorKind::NotFound),
        "{nobody}"
    );
}
