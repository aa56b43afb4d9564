//! Rings as their users see them: the test is the kernel.

use super::*;
use crate::{Desc, Wakeup};
use std::thread;

fn frame(addr: u64) -> Desc {
    Desc { addr, len: 60, options: 0 }
}

#[test]
fn a_burst_arrives_in_order_and_makes_room_when_released() {
    let (mut kernel, mut rx) = connected::<Desc>(4);
    assert_eq!(kernel.reserve(3), 3);
    for i in 0..3 {
        kernel.write(i, frame(u64::from(i) * 2048));
    }
    assert_eq!(rx.peek(32), 0, "nothing before it is submitted");
    kernel.submit(3);
    assert_eq!(rx.peek(32), 3);
    assert_eq!([rx.read(0).addr, rx.read(1).addr, rx.read(2).addr], [0, 2048, 4096]);
    assert_eq!((kernel.free_slots(), kernel.backlog()), (1, 3));
    rx.release(2);
    assert_eq!((kernel.free_slots(), kernel.backlog()), (3, 1));
    assert_eq!(rx.read(0).addr, 4096);
}

#[test]
fn a_frame_goes_round_through_all_four_rings() {
    let (mut queue, mut kernel) = queue(8).unwrap();
    queue.fill.reserve(1);
    queue.fill.write(0, 2048);
    queue.fill.submit(1);
    // received
    assert_eq!(kernel.fill.peek(1), 1);
    let addr = kernel.fill.read(0);
    kernel.fill.release(1);
    kernel.rx.reserve(1);
    kernel.rx.write(0, frame(addr));
    kernel.rx.submit(1);
    // forwarded
    assert_eq!((queue.rx.peek(32), queue.tx.reserve(1)), (1, 1));
    queue.tx.write(0, queue.rx.read(0));
    queue.tx.submit(1);
    queue.rx.release(1);
    assert_eq!(queue.tx.backlog(), 1);
    // transmitted
    assert_eq!(kernel.tx.peek(32), 1);
    kernel.completion.reserve(1);
    kernel.completion.write(0, kernel.tx.read(0).addr);
    kernel.completion.submit(1);
    kernel.tx.release(1);
    assert_eq!((queue.tx.backlog(), queue.completion.peek(32)), (0, 1));
    assert_eq!(queue.completion.read(0), 2048);
}

#[test]
fn the_wakeup_flag_and_the_kicks_are_seen() {
    let (queue, mut kernel) = queue(8).unwrap();
    assert!(!queue.tx.needs_wakeup());
    kernel.tx.set_needs_wakeup(true);
    assert!(queue.tx.needs_wakeup());
    assert!(!queue.fill.needs_wakeup());
    assert_eq!(kernel.wakeups(), 0);
    assert_eq!((queue.socket.wakeup_tx(), queue.socket.wakeup_tx()), (Wakeup::Done, Wakeup::Done));
    assert_eq!(kernel.wakeups(), 2);
    assert_eq!(queue.socket.wakeup_rx(), Wakeup::Done);
    assert_eq!(kernel.rx_wakeups(), 1);
    assert!(queue.socket.statistics().is_err());
}

#[test]
fn a_half_outlives_the_other() {
    let (mut producer, mut consumer) = connected::<u64>(2);
    producer.reserve(1);
    producer.write(0, 7);
    producer.submit(1);
    drop(producer);
    assert_eq!(consumer.peek(2), 1);
    assert_eq!(consumer.read(0), 7);
}

/// Two threads, indices that pass `u32::MAX`, every entry once and in order.
#[test]
fn two_threads_across_the_wrap() {
    const ENTRIES: u64 = 200_000;
    let (mut producer, mut consumer) = connected_from::<u64>(64, u32::MAX - 1000);
    let sender = thread::spawn(move || {
        let mut next = 0;
        while next < ENTRIES {
            let n = producer.reserve(32).min(u32::try_from(ENTRIES - next).unwrap());
            (0..n).for_each(|i| producer.write(i, next + u64::from(i)));
            producer.submit(n);
            next += u64::from(n);
            if n == 0 {
                thread::yield_now();
            }
        }
    });
    let mut seen = 0;
    while seen < ENTRIES {
        let n = consumer.peek(32);
        assert!((0..n).all(|i| consumer.read(i) == seen + u64::from(i)));
        consumer.release(n);
        seen += u64::from(n);
        if n == 0 {
            thread::yield_now();
        }
    }
    sender.join().unwrap();
    assert_eq!(consumer.available(), 0);
}

#[test]
#[should_panic(expected = "not a power of two")]
fn a_ring_size_that_is_no_power_of_two_is_refused() {
    let _ = connected::<u64>(3);
}
