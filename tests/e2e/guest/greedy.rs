//! Guests that offer as much work as they can, by descriptors that are all allowed: what they cost the others is bounded.

use super::frontend::{FAR_BUFFERS, FrontEnd, GUEST, INDIRECT, LARGE, NEXT, WRITE};
use super::hostile::{A, B, Others, SOCKET, last, link, with_evil_port, with_evil_port_and};
use crate::common::packet::Wire;
use crate::common::world::world;
use crate::common::{frame, wait_until};
use crate::lab::drops;
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Where the table of buffers is.
const TABLE: u64 = FAR_BUFFERS + 0x10_0000;
/// Longest chain that is allowed.
const LONGEST: u16 = 1024;
/// Times that the others are measured with a greedy guest and without, and pings each time.
const ROUNDS: usize = 4;
const PINGS: u32 = 250;
/// What a ping may take longer, beside twice as long: four bursts of a greedy guest, two on the way there and two on the way
/// back, of up to 6,144 descriptors of 25 ns. In a debug build the 99th percentile rose by 0.05 to 0.18 ms, 11 ns for each of
/// four times 4,096.
const ALLOWANCE: Duration = Duration::from_nanos(4 * 6144 * 25);

/// A guest whose `vring` is full of chains of `n` buffers of nothing, in one indirect table.
fn greedy(vring: u16, n: u16) -> FrontEnd {
    let mut guest = FrontEnd::shaped(SOCKET, LARGE);
    wait_until("the guest to be up", || link() == "up");
    let write = if vring == 0 { WRITE } else { 0 };
    for i in 0..n {
        let next = if i + 1 < n { NEXT } else { 0 };
        guest.desc_at(TABLE + 16 * u64::from(i), (GUEST + FAR_BUFFERS, 0, write | next, i + 1));
    }
    // all heads are the first descriptor
    guest.desc(vring, 0, (GUEST + TABLE, 16 * u32::from(n), INDIRECT, 0));
    guest.avail_idx(vring, LARGE.size);
    guest
}

/// Keeps a transmit ring full: what was used is available again.
fn refill(guest: &mut FrontEnd, over: &AtomicBool) {
    while !over.load(Relaxed) {
        guest.avail_idx(1, guest.used(1).wrapping_add(LARGE.size));
        std::thread::sleep(Duration::from_micros(500));
    }
}

/// Waits for one frame, without sleeping.
fn await_frame(wire: &Wire, expected: &[u8]) {
    let end = Instant::now() + Duration::from_secs(10);
    while wire.receive().is_none_or(|frame| frame != expected) {
        assert!(Instant::now() < end, "a frame of a bystander's is lost");
        spin_loop();
    }
}

/// How long frames take from one bystander to the other and back.
fn ping(others: &Others, times: &mut Vec<Duration>) {
    for serial in 0..PINGS {
        let (there, back) = (frame(B, A, serial, 60), frame(A, B, serial, 60));
        let start = Instant::now();
        others.0.send(&there).expect("sending");
        await_frame(&others.1, &there);
        others.1.send(&back).expect("sending");
        await_frame(&others.0, &back);
        times.push(start.elapsed());
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn p99(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() * 99 / 100]
}

/// Runs `beside` on another thread until `job` is done.
fn alongside(beside: impl FnOnce(&AtomicBool) + Send, job: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| beside(&over));
        job();
        over.store(true, Relaxed);
    });
}

/// Its worker never sleeps: how soon a machine in use lets a worker run is the same with and without the guest.
const BUSY: &str = "poll: busy\n";

/// Measures the others by turns, alone and beside a guest that `attack` makes greedy.
fn bystanders(others: &Others, attack: impl Fn(&mut dyn FnMut())) {
    let (mut quiet, mut greedy) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ping(others, &mut quiet);
        attack(&mut || ping(others, &mut greedy));
        wait_until("the guest to be gone", || link() == "no-carrier");
    }
    let (quiet, greedy) = (p99(quiet), p99(greedy));
    eprintln!("p99 of a ping: {quiet:?} alone, {greedy:?} beside a greedy guest");
    assert!(greedy <= 2 * quiet + ALLOWANCE, "{quiet:?} alone, {greedy:?} beside a greedy guest");
}

#[test]
fn a_guest_that_sends_chains_of_nothing_delays_nobody() {
    world("a_guest_that_sends_chains_of_nothing_delays_nobody", || {
        with_evil_port_and(BUSY, |others| {
            bystanders(others, |job| {
                let mut guest = greedy(1, LONGEST);
                alongside(|over| refill(&mut guest, over), job);
            });
            assert!(drops("evil", "runt") > 0, "it was served");
        });
    });
}

#[test]
fn a_guest_that_receives_in_chains_of_nothing_delays_nobody() {
    world("a_guest_that_receives_in_chains_of_nothing_delays_nobody", || {
        with_evil_port_and(BUSY, |others| {
            // somebody broadcasts all the time, with or without the guest
            let broadcast = |over: &AtomicBool| {
                let loud = frame([0xff; 6], A, u32::MAX, 60);
                while !over.load(Relaxed) {
                    others.0.send(&loud).expect("sending");
                    std::thread::sleep(Duration::from_micros(200));
                }
            };
            alongside(broadcast, || {
                bystanders(others, |job| {
                    let _guest = greedy(0, LONGEST);
                    job();
                });
            });
            assert!(drops("evil", "oversize") > 0, "it was served");
        });
    });
}

#[test]
fn a_chain_longer_than_any_device_takes_ends_the_session() {
    world("a_chain_longer_than_any_device_takes_ends_the_session", || {
        with_evil_port(|others| {
            others.lose_nothing(|| assert!(greedy(1, LARGE.size).hung_up()));
            let said = last(1);
            assert!(said.contains("a chain of more than 1024 descriptors"), "{said}");
        });
    });
}
