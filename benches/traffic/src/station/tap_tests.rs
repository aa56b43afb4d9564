//! TAP stations and line rates on a real TAP, in a network namespace that ends with the test.

use super::*;
use crate::frame::{Mac, Sizes};
use crate::schedule::Schedule;
use crate::trial::{Flow, Outcome, Trial};
use nix::sched::unshare;
use std::fs;
use std::process::Command;

const OUTSIDE: Mac = [2, 0, 0, 0, 0, 1];
const INSIDE: Mac = [2, 0, 0, 0, 0, 2];
const DEV: &str = "tap0";
/// The station that holds the TAP, and the one on its interface.
const TAP: usize = 0;
const INTERFACE: usize = 1;

/// Runs `test` on a TAP that is up, or says that it needs root.
fn on_a_tap(name: &str, test: fn(&mut [Station])) {
    let run = || {
        unshare(CloneFlags::CLONE_NEWNET).map(|()| {
            let tap = Station::tap(None, DEV).unwrap();
            fs::write(format!("/proc/sys/net/ipv6/conf/{DEV}/disable_ipv6"), "1").unwrap();
            ip(&["link", "set", DEV, "mtu", "1500", "up"]);
            test(&mut [tap, Station::interface(None, DEV).unwrap()]);
        })
    };
    let outcome = thread::scope(|scope| scope.spawn(run).join());
    if let Err(why) = outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic)) {
        assert!(std::env::var_os("PRIVILEGED_TESTS").is_none(), "{name}: no network namespace: {why}");
        eprintln!("skipped: {name}: no network namespace: {why}");
    }
}

fn ip(words: &[&str]) -> String {
    let output = Command::new("ip").args(words).output().expect("iproute2");
    assert!(output.status.success(), "ip {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn flow(from: usize, to: usize, sizes: Sizes, schedule: Schedule) -> Flow {
    let macs = [OUTSIDE, INSIDE];
    Flow { stream: Stream::new(0, macs[from], macs[to], sizes), schedule, from, to: vec![to] }
}

fn trial(stations: &mut [Station], flows: Vec<Flow>) -> Outcome {
    let outcome = Trial::new(flows).run(stations).unwrap();
    assert_eq!((outcome.faults(), outcome.strays()), (Vec::new(), 0));
    outcome
}

#[test]
fn frames_go_both_ways_whole() {
    on_a_tap("frames_go_both_ways_whole", |stations| {
        for sizes in [Sizes::Fixed(64), Sizes::Imix, Sizes::Fixed(1518)] {
            let all = || Schedule::at_once(200);
            let flows = vec![flow(TAP, INTERFACE, sizes, all()), flow(INTERFACE, TAP, sizes, all())];
            let outcome = trial(stations, flows);
            assert_eq!((outcome.sent(), outcome.received(), outcome.missed), (400, 400, 0), "{sizes:?}");
        }
    });
}

#[test]
fn frames_of_several_chunks_are_checked_whole() {
    on_a_tap("frames_of_several_chunks_are_checked_whole", |stations| {
        ip(&["link", "set", DEV, "mtu", "9100"]);
        let outcome = trial(stations, vec![flow(INTERFACE, TAP, Sizes::Fixed(9018), Schedule::at_once(100))]);
        assert_eq!((outcome.sent(), outcome.received()), (100, 100));
    });
}

#[test]
fn what_a_slow_line_has_queued_comes_late_and_is_not_lost() {
    on_a_tap("what_a_slow_line_has_queued_comes_late_and_is_not_lost", |stations| {
        stations[TAP].limit(Some(2000));
        let outcome = trial(stations, vec![flow(INTERFACE, TAP, Sizes::Fixed(64), Schedule::at_once(400))]);
        assert_eq!((outcome.sent(), outcome.received()), (400, 400));
        let took = outcome.flows[0].arrived[0].last_arrival - outcome.start;
        assert!(took >= 399 * 500_000, "400 frames at 2000 per second in {took} ns");
    });
}

#[test]
fn what_does_not_fit_the_queue_of_a_tap_its_interface_counts() {
    on_a_tap("what_does_not_fit_the_queue_of_a_tap_its_interface_counts", |stations| {
        stations[TAP].limit(Some(20_000));
        let outcome =
            trial(stations, vec![flow(INTERFACE, TAP, Sizes::Fixed(64), Schedule::paced(60_000, 50_000_000))]);
        let dropped = ip(&["-s", "-j", "link", "show", DEV]);
        let (_, sent) = dropped.split_once("\"tx\":").expect("counts of what was sent");
        assert!(outcome.lost() > 0 && sent.contains(&format!("\"dropped\":{},", outcome.lost())), "{sent}");
    });
}

#[test]
fn a_line_rate_holds_for_any_station() {
    on_a_tap("a_line_rate_holds_for_any_station", |stations| {
        stations[INTERFACE].limit(Some(5000));
        let outcome = trial(stations, vec![flow(TAP, INTERFACE, Sizes::Fixed(64), Schedule::at_once(500))]);
        assert_eq!((outcome.sent(), outcome.received()), (500, 500));
        let took = outcome.flows[0].arrived[0].last_arrival - outcome.start;
        assert!(took >= 499 * 200_000, "500 frames at 5000 per second in {took} ns");
    });
}
