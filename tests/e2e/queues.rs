//! TAPs of several queues and a switch of several workers: each flow keeps to one worker, and so to one queue of each
//! port, and to its order.

use crate::common::wait_until;
use crate::common::world::{inside, run, silence, world};
use crate::lab::{Lab, ask};
use crate::shapes::two_cores;
use std::net::UdpSocket;
use std::time::Duration;

const NODES: [&str; 2] = ["plxt-q1", "plxt-q2"];
const ADDRESSES: [&str; 2] = ["10.99.0.1", "10.99.0.2"];
/// Datagrams each way per flow.
const DATAGRAMS: u32 = 200;
const FLOWS: u16 = 24;

/// Frames that each worker has received.
fn frames() -> [u64; 2] {
    let stats = ask("stats");
    [0, 1].map(|worker| stats["workers"][worker]["frames"].as_u64().expect("a count"))
}

/// One end of flow `n`, in node `end`.
fn socket(end: usize, n: u16) -> UdpSocket {
    inside(NODES[end], || {
        let socket = UdpSocket::bind((ADDRESSES[end], 5000 + n)).expect("a socket");
        socket.connect((ADDRESSES[1 - end], 5000 + n)).expect("a route");
        socket.set_read_timeout(Some(Duration::from_secs(10))).expect("patience");
        socket
    })
}

fn expect(socket: &UdpSocket, serial: u32) {
    let mut bytes = [0; 4];
    assert_eq!(socket.recv(&mut bytes).expect("a datagram"), 4);
    assert_eq!(u32::from_be_bytes(bytes), serial, "out of order");
}

/// Sends both ways, eight datagrams at a time, nobody waiting for an answer before the first eight.
fn exchange(ends: &[UdpSocket; 2]) {
    for batch in (0..DATAGRAMS).collect::<Vec<u32>>().chunks(8) {
        for serial in batch {
            ends.iter().for_each(|end| assert_eq!(end.send(&serial.to_be_bytes()).expect("room"), 4));
        }
        for serial in batch {
            ends.iter().for_each(|end| expect(end, *serial));
        }
    }
}

/// How many frames of flow `n` each worker received.
fn share(n: u16) -> [u64; 2] {
    let (ends, before) = ([socket(0, n), socket(1, n)], frames());
    exchange(&ends);
    let mut share = [0, 0];
    wait_until("all frames in the statistics", || {
        let now = frames();
        share = [0, 1].map(|worker| now[worker] - before[worker]);
        share[0] + share[1] >= 2 * u64::from(DATAGRAMS)
    });
    share
}

#[test]
fn a_flow_keeps_to_one_worker_and_its_order() {
    world("a_flow_keeps_to_one_worker_and_its_order", || {
        let port = |n: usize| {
            format!(
                "  q{}: {{ kind: tap, node: {}, ifname: eth0, queues: 2, mac: \"02:00:00:00:00:0{n}\", ip: [{}/24], domain: lan }}\n",
                n + 1,
                NODES[n],
                ADDRESSES[n]
            )
        };
        let lab = Lab::new(&format!(
            "name: plxt-flows\n{}domains: {{ lan: {{}} }}\nnodes: {{ {}: {{}}, {}: {{}} }}\nports:\n{}{}",
            two_cores(),
            NODES[0],
            NODES[1],
            port(0),
            port(1)
        ));
        lab.up();
        for n in [0, 1] {
            // Nothing but the flows: no discovery.
            inside(NODES[n], || {
                silence();
                let neighbour = format!("02:00:00:00:00:0{}", 1 - n);
                run(&["ip", "neigh", "replace", ADDRESSES[1 - n], "lladdr", &neighbour, "dev", "eth0"]);
            });
        }
        // Both ends have spoken: their addresses are known, nothing is flooded.
        exchange(&[socket(0, FLOWS), socket(1, FLOWS)]);
        let shares: Vec<[u64; 2]> = (0..FLOWS).map(share).collect();
        assert!(shares.iter().all(|share| share.contains(&0)), "frames of a flow on both workers: {shares:?}");
        for worker in [0, 1] {
            assert!(shares.iter().any(|share| share[worker] > 0), "worker {worker} has no flow: {shares:?}");
        }
        lab.down();
    });
}
