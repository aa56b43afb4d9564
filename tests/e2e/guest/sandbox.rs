//! vhost-user where io_uring is refused, as in many containers (Docker's seccomp profile) and by kernel.io_uring_disabled.

use super::frontend::FrontEnd;
use super::hostile::{A, B, SOCKET, link, with_evil_port};
use super::machine::{Machine, data, fetch, image};
use super::vm::{VM1, port, serve, yaml};
use crate::common::world::{inside, world};
use crate::common::{frame, wait_until};
use crate::lab::{Lab, node, pollux};
use crate::traffic::ping;
use nix::errno::Errno;
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// From here on the calling thread, and whatever it starts, is refused io_uring with `errno`.
fn refuse_io_uring(errno: Errno) {
    let rules = BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
    let refuse = SeccompAction::Errno(u32::try_from(errno as i32).expect("a number"));
    let arch = std::env::consts::ARCH.try_into().expect("a machine that seccomp knows");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).expect("a filter");
    let program: BpfProgram = filter.try_into().expect("a program");
    apply_filter(&program).expect("seccomp");
}

/// A front end that makes whoever calls its guest wait, by a full counter that blocks: the worker does not.
fn a_deaf_guest_holds_up_nobody() {
    with_evil_port(|others| {
        let mut guest = FrontEnd::ready(SOCKET);
        wait_until("the guest to be up", || link() == "up");
        (0..2).for_each(|vring| guest.deafen(vring));
        others.lose_nothing(|| {
            for n in 0..40u16 {
                guest.want();
                others.1.send(&frame([0xff; 6], B, n.into(), 60)).expect("sending");
                guest.received(n);
                guest.send(&[0; 12], &frame(A, [2, 0, 0, 0, 0, 0xc], n.into(), 60));
            }
        });
        let start = Instant::now();
        pollux(&["port", "del", "evil"]).ok();
        assert!(start.elapsed() < Duration::from_secs(2), "the port is given up at once: {:?}", start.elapsed());
    });
}

#[test]
fn a_guest_that_does_not_take_its_calls_holds_up_nobody() {
    world("a_guest_that_does_not_take_its_calls_holds_up_nobody", a_deaf_guest_holds_up_nobody);
}

#[test]
fn nor_does_it_where_io_uring_is_refused() {
    world("nor_does_it_where_io_uring_is_refused", || {
        refuse_io_uring(Errno::EPERM);
        a_deaf_guest_holds_up_nobody();
    });
}

/// A machine sleeps until it is called.
#[test]
fn a_machine_works_where_io_uring_is_refused() {
    let image = image();
    world("a_machine_works_where_io_uring_is_refused", || {
        refuse_io_uring(Errno::ENOSYS);
        let lab = Lab::new(&yaml("server", 2));
        lab.up();
        let mut machine = Machine::boot(&image, "vm1", VM1, &[]);
        machine.ping("10.99.0.1");
        ping(&node("v1"), VM1);
        let server = serve(&node("t1"), 1);
        machine.fetch("10.99.0.1");
        server.join().expect("a served machine");
        assert!(inside(&node("v1"), || fetch(VM1)) == data(), "what the machine serves");
        let calls = &port("vm1")["guest"]["pairs"][0]["calls"];
        assert!(calls.as_u64().is_some_and(|calls| calls > 0), "calls: {calls}");
        drop(machine);
        lab.down();
    });
}
