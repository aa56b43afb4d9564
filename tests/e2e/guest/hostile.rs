//! Guests and front ends that keep to nothing: each loses its own port, with one line that says why; the others lose no
//! frame, and the next front end is served as if nothing had been.

use super::frontend::request::*;
use super::frontend::{BUFFERS, FrontEnd, GUEST, INDIRECT, MEMORY, NEXT, SIZE, USER, WRITE, state, table};
use crate::common::packet::Wire;
use crate::common::world::{inside, silence, world};
use crate::common::{frame, wait_until};
use crate::lab::{Lab, Traces, ask, balanced, drops, lan, node};
use serde_json::Value;
use std::fs::File;
use std::os::fd::AsRawFd;

pub const SOCKET: &str = "/run/pollux/evil.sock";
/// Frames that pass between the other ports during each deed.
const OTHERS: u32 = 200;

/// What a misbehaving front end does, and words of the line that says why it was sent away.
type Deed = (&'static str, fn(), &'static str);

/// Of the guest, in its rings.
const DEEDS_IN_RINGS: &[Deed] = &[
    ("avail index jumps", || in_ring(|guest| guest.avail_idx(1, 5000)), "avail index jumped"),
    ("a chain loops", || chain(&[(GUEST + BUFFERS, 10, NEXT, 0)]), "loops"),
    ("a head beyond the table", || in_ring(|guest| guest.offer(1, SIZE)), "descriptor 16 of a table of 16"),
    ("a next beyond the table", || chain(&[(GUEST + BUFFERS, 100, NEXT, 999)]), "descriptor 999"),
    ("an address outside", || chain(&[(0x10, 100, 0, 0)]), "outside the memory"),
    ("an address that wraps", || chain(&[(u64::MAX - 50, 100, 0, 0)]), "outside the memory"),
    ("a range that leaves its region", || chain(&[(GUEST + MEMORY - 50, 100, 0, 0)]), "outside the memory"),
    ("a buffer to write where one to read belongs", || chain(&[(GUEST + BUFFERS, 100, WRITE, 0)]), "wrong way"),
    ("an indirect table askew", || chain(&[(GUEST + BUFFERS, 17, INDIRECT, 0)]), "indirect table"),
    ("an indirect table of nothing", || chain(&[(GUEST + BUFFERS, 0, INDIRECT, 0)]), "indirect table"),
    ("an indirect table as long as can be", || chain(&[(GUEST + BUFFERS, !15, INDIRECT, 0)]), "indirect table"),
    ("an indirect table outside", || chain(&[(0x10, 16, INDIRECT, 0)]), "outside the memory"),
    ("an indirect table in another", nested, "indirect table"),
    (
        "memory taken back",
        || {
            in_ring(|guest| {
                guest.memory.set_len(0).expect("a shorter file");
                guest.kick_only(1);
            })
        },
        "took back memory",
    ),
];

/// Of the front end, in its messages.
const DEEDS_IN_MESSAGES: &[Deed] = &[
    ("half a message", || greet(|it| it.raw(&[2, 0, 0, 0, 1, 0], &[])), "half a message"),
    ("half a body", || greet(|it| it.raw(&[2, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 9], &[])), "half a message"),
    ("no message at all", || greet(|it| it.raw(&[0xff; 64], &[])), "no vhost-user message"),
    (
        "a body without end",
        || greet(|it| it.raw(&[2, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255], &[])),
        "no vhost-user message",
    ),
    ("an unknown request", || greet(|it| it.tell(200, &[0; 8], &[])), "should not"),
    (
        "features that were not offered",
        || greet(|it| it.tell(SET_FEATURES, &u64::MAX.to_le_bytes(), &[])),
        "not offered",
    ),
    (
        "file descriptors where none belong",
        || {
            greet(|it| {
                let fd = it.memory.as_raw_fd();
                it.tell(GET_FEATURES, &[], &[fd; 8]);
            })
        },
        "should not",
    ),
    ("a ring that is not there", || greet(|it| it.tell(SET_VRING_NUM, &state(2, 16), &[])), "vring 2 of a port with 2"),
    ("a ring of nothing", || greet(|it| it.tell(SET_VRING_NUM, &state(0, 0), &[])), "vring 0 with 0"),
    ("a ring of 2^31", || greet(|it| it.tell(SET_VRING_NUM, &state(0, 1 << 31), &[])), "vring 0 with 2147483648"),
    (
        "a kick that is no eventfd",
        || {
            greet(|it| {
                let fd = it.memory.as_raw_fd();
                it.tell(SET_VRING_KICK, &0u64.to_le_bytes(), &[fd]);
            })
        },
        "no eventfd",
    ),
    (
        "a table without memory",
        || greet(|it| it.tell(SET_MEM_TABLE, &table(&[[GUEST, MEMORY, USER, 0]]), &[])),
        "should not",
    ),
    ("a region beyond its file", || shared(&[[GUEST, 2 * MEMORY, USER, 0]]), "of a file of 1048576 bytes"),
    ("a region far beyond its file", || shared(&[[GUEST, 4096, USER, u64::MAX - 8192]]), "of a file of 1048576 bytes"),
    ("regions that overlap", || shared(&[[GUEST, MEMORY, USER, 0], [GUEST + 4096, 4096, USER, 0]]), "overlap"),
    (
        "a file that is no shared memory",
        || {
            greet(|it| {
                let file = File::open("/proc/self/exe").expect("ourselves");
                it.tell(SET_MEM_TABLE, &table(&[[GUEST, 4096, USER, 0]]), &[file.as_raw_fd()]);
            })
        },
        "share=on",
    ),
    ("a ring outside the memory", || placed([USER + MEMORY - 16, USER, USER]), "descriptor area"),
    ("a ring askew", || placed([USER + 1, USER + 0x2000, USER + 0x1000]), "should not"),
    (
        "a size that changes while the ring runs",
        || in_ring(|it| it.tell(SET_VRING_NUM, &state(1, 8), &[])),
        "while it runs",
    ),
    ("addresses that change while the ring runs", || in_ring(|it| it.addresses(1, [USER; 3])), "while it runs"),
];

/// Does something with a guest in service, which must be sent away for it.
fn in_ring(deed: impl FnOnce(&mut FrontEnd)) {
    let mut guest = FrontEnd::ready(SOCKET);
    wait_until("the guest to be up", || link() == "up");
    deed(&mut guest);
    assert!(guest.hung_up());
}

/// Offers a chain of these descriptors, from the first.
fn chain(descriptors: &[(u64, u32, u16, u16)]) {
    in_ring(|guest| {
        for (i, desc) in (0..).zip(descriptors) {
            guest.desc(1, i, *desc);
        }
        guest.offer(1, 0);
    });
}

fn nested() {
    in_ring(|guest| {
        guest.desc_at(BUFFERS, (GUEST + BUFFERS, 16, INDIRECT, 0));
        guest.desc(1, 0, (GUEST + BUFFERS, 16, INDIRECT, 0));
        guest.offer(1, 0);
    });
}

/// Says something before anything is agreed on.
fn greet(deed: impl FnOnce(&mut FrontEnd)) {
    let mut it = FrontEnd::connect(SOCKET);
    deed(&mut it);
    assert!(it.hung_up());
}

/// Shares regions of one file.
fn shared(regions: &[[u64; 4]]) {
    greet(|it| {
        let fds = vec![it.memory.as_raw_fd(); regions.len()];
        it.tell(SET_MEM_TABLE, &table(regions), &fds);
    });
}

/// Starts a ring at these addresses.
fn placed(addresses: [u64; 3]) {
    greet(|it| {
        it.negotiate();
        it.share();
        it.tell(SET_VRING_NUM, &state(0, SIZE.into()), &[]);
        it.addresses(0, addresses);
        it.poll_instead(0);
    });
}

fn port() -> Value {
    let ports = ask("ports");
    let all = ports["ports"].as_array().expect("ports");
    all.iter().find(|port| port["name"] == "evil").expect("the port").clone()
}

pub fn link() -> String {
    port()["link"].as_str().expect("a link").to_owned()
}

/// The last line said of a guest, once there is one of `sessions`.
pub fn last(sessions: u64) -> String {
    wait_until("the front end to be gone", || {
        let guest = &port()["guest"];
        guest["connected"] == false && guest["sessions"] == sessions
    });
    port()["guest"]["last"].as_str().unwrap_or_default().to_owned()
}

/// The stations at the other ports.
pub struct Others(pub Wire, pub Wire);

pub const A: [u8; 6] = [2, 0, 0, 0, 0, 0xa];
pub const B: [u8; 6] = [2, 0, 0, 0, 0, 0xb];

impl Others {
    fn open() -> Self {
        let wire = |port| inside(&node(port), || Wire::open("eth0"));
        let others = Self(wire("t1"), wire("t2"));
        // both are known from here on
        others.1.send(&frame(A, B, 0, 60)).expect("sending");
        others.0.receive_all(1);
        others
    }

    /// Every frame arrives while `deed` is done.
    pub fn lose_nothing(&self, deed: impl FnOnce() + Send) {
        std::thread::scope(|scope| {
            let done = scope.spawn(deed);
            let mut sent = 0;
            while sent < OTHERS || !done.is_finished() {
                self.0.send(&frame(B, A, sent, 60)).expect("sending");
                assert_eq!(self.1.receive_all(1), [frame(B, A, sent, 60)]);
                sent += 1;
            }
            done.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        });
    }
}

pub fn with_evil_port(job: impl FnOnce(&Others)) {
    with_evil_port_and("", job);
}

/// The same with more keys in the file.
pub fn with_evil_port_and(keys: &str, job: impl FnOnce(&Others)) {
    let before = Traces::now();
    let yaml = lan("plxt-evil", &[("t1", "tap"), ("t2", "tap")]);
    let lab = Lab::new(&format!("{yaml}  evil: {{ kind: vhost-user, socket: {SOCKET}, domain: lan }}\n{keys}"));
    silence();
    lab.up();
    job(&Others::open());
    lab.down();
    before.gone();
}

fn all(deeds: &[Deed]) {
    with_evil_port(|others| {
        for (sessions, (what, deed, why)) in (1..).zip(deeds) {
            eprintln!("{what}");
            others.lose_nothing(deed);
            let said = last(sessions);
            assert!(said.contains(why), "{what}: {said}");
            assert_eq!(link(), "no-carrier", "{what}");
        }
        behaves(others);
    });
}

/// A well-behaved guest is served after all that: frames pass both ways.
pub fn behaves(others: &Others) {
    let mut guest = FrontEnd::ready(SOCKET);
    wait_until("the guest to be up", || link() == "up");
    const C: [u8; 6] = [2, 0, 0, 0, 0, 0xc];
    for n in 0..40u16 {
        guest.send(&[0; 12], &frame(A, C, n.into(), 100));
        assert_eq!(others.0.receive_all(1), [frame(A, C, n.into(), 100)]);
        guest.want();
        others.0.send(&frame(C, A, n.into(), 200)).expect("sending");
        assert_eq!(guest.received(n), frame(C, A, n.into(), 200));
    }
    drop(guest);
    wait_until("the guest to be down", || link() == "no-carrier");
}

#[test]
fn a_guest_that_breaks_its_rings_loses_its_port_alone() {
    world("a_guest_that_breaks_its_rings_loses_its_port_alone", || all(DEEDS_IN_RINGS));
}

#[test]
fn a_front_end_that_breaks_the_protocol_is_sent_away_alone() {
    world("a_front_end_that_breaks_the_protocol_is_sent_away_alone", || all(DEEDS_IN_MESSAGES));
}

/// What is odd but allowed, or wrong in one frame only, costs that frame at most.
#[test]
fn frames_that_are_wrong_are_counted_and_the_guest_stays() {
    world("frames_that_are_wrong_are_counted_and_the_guest_stays", || {
        with_evil_port(|others| {
            let mut guest = FrontEnd::ready(SOCKET);
            wait_until("the guest to be up", || link() == "up");
            // shorter than a header; a header and nothing; nothing at all
            for (n, len) in (1..).zip([11, 12, 0, 25]) {
                let head = u16::try_from(n).expect("a descriptor");
                guest.desc(1, head, (GUEST + BUFFERS, len, 0, 0));
                guest.offer(1, head);
                wait_until("a runt to be counted", || drops("evil", "runt") == n);
            }
            // gso_type, csum_start and gso_size that cannot be
            let bad = [
                [0, 9, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
                [1, 0, 0, 0, 0, 0, 255, 255, 2, 0, 0, 0],
                [1, 1, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0],
            ];
            for (n, header) in (1..).zip(bad) {
                guest.send(&header, &frame(A, [2, 0, 0, 0, 0, 0xc], n, 100));
                wait_until("a bad header to be counted", || drops("evil", "bad_offload") == u64::from(n));
            }
            // a header over three descriptors, and the frame over two, with one of nothing between
            let sent = frame(A, [2, 0, 0, 0, 0, 0xc], 7, 120);
            guest.poke(BUFFERS, &[&[0; 12], &sent[..]].concat());
            for (i, (at, len)) in (0..).zip([(0, 3), (3, 5), (8, 44), (0, 0), (52, 80)]) {
                guest.desc(1, i, (GUEST + BUFFERS + at, len, if i < 4 { NEXT } else { 0 }, i + 1));
            }
            guest.offer(1, 0);
            assert_eq!(others.0.receive_all(1), [sent]);
            assert_eq!(link(), "up");
            balanced();
        });
    });
}

/// Announced by the front end for a guest that moved here: everybody hears of it.
#[test]
fn an_announcement_is_broadcast_and_a_second_front_end_turned_away() {
    world("an_announcement_is_broadcast_and_a_second_front_end_turned_away", || {
        with_evil_port(|others| {
            let mut guest = FrontEnd::ready(SOCKET);
            wait_until("the guest to be up", || link() == "up");
            assert!(FrontEnd::connect(SOCKET).hung_up(), "the port has a guest already");
            guest.tell(SEND_RARP, &[2, 0, 0, 0, 0, 0xc, 0, 0], &[]);
            wait_until("a RARP frame", || others.0.next().is_some_and(|frame| frame[12..14] == [0x80, 0x35]));
            wait_until("the address to be known", || {
                let fdb = ask("fdb");
                fdb["entries"].as_array().expect("entries").iter().any(|entry| entry["mac"] == "02:00:00:00:00:0c")
            });
            let base = guest.ask(GET_VRING_BASE, &state(1, 0));
            assert_eq!(base >> 32, u64::from(guest.used(1)), "where the ring stopped");
            assert_eq!(link(), "no-carrier");
        });
    });
}

/// Messages without end, whose answers nobody reads: they cost one thread some time, and the port can still be removed.
#[test]
fn a_flood_of_messages_holds_up_nobody() {
    world("a_flood_of_messages_holds_up_nobody", || {
        with_evil_port(|others| {
            let mut flooder = FrontEnd::connect(SOCKET);
            let ping = [1u32, 1, 0].map(u32::to_le_bytes).concat();
            others.lose_nothing(move || {
                flooder.stream.set_write_timeout(Some(std::time::Duration::from_millis(200))).expect("a timeout");
                // until the switch stops reading because its answers are not read
                while std::io::Write::write_all(&mut flooder.stream, &ping).is_ok() {}
                crate::lab::pollux(&["port", "del", "evil"]).ok();
                assert!(flooder.hung_up());
            });
        });
    });
}
