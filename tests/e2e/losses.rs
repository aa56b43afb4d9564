//! What is lost outside the switch is counted at the port, and who holds frames of the pool is said.

use crate::common::packet::Wire;
use crate::common::world::{inside, world};
use crate::common::{frame, wait_until};
use crate::lab::{FOUR, Lab, ask, lan, pollux};
use crate::traffic::{node_of, ping, v4};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const STATION: [u8; 6] = [2, 0, 0, 0, 0, 0x99];
const NOBODY: [u8; 6] = [2, 0, 0, 0, 0, 0x98];
/// More than any queue between the node and the switch holds.
const SENT: u64 = 6000;

fn count(stats: &Value, port: &str, key: &str) -> u64 {
    stats["ports"][port][key].as_u64().unwrap_or_else(|| panic!("{key} of {port} in {stats:#}"))
}

fn sum(counts: &Value) -> u64 {
    counts.as_object().expect("counts by name").values().map(|n| n.as_u64().expect("a count")).sum()
}

/// The daemon is stopped while a node sends; afterwards each frame was received or is counted as lost, by name.
#[test]
fn what_is_lost_while_the_switch_is_stopped_is_counted() {
    world("what_is_lost_while_the_switch_is_stopped_is_counted", || {
        let lab = Lab::new(&lan("plxt-lost", &FOUR));
        lab.up();
        for (n, (name, kind)) in FOUR.into_iter().enumerate().step_by(2) {
            ping(&node_of(n), &v4(n + 1));
            let wire = inside(&node_of(n), || Wire::open("eth0"));
            let before = ask("stats");
            let daemon = Pid::from_raw(i32::try_from(ask("status")["pid"].as_i64().expect("a pid")).expect("a pid"));
            kill(daemon, Signal::SIGSTOP).expect("stopping the daemon");
            let sent = (0..SENT).filter(|_| wire.try_send(&frame(NOBODY, STATION, 0, 60))).count() as u64;
            kill(daemon, Signal::SIGCONT).expect("letting it go on");
            let since = |key: &str| count(&ask("stats"), name, key) - count(&before, name, key);
            wait_until(&format!("{sent} frames from {name} to be accounted for"), || {
                since("rx_frames") + since("rx_lost") >= sent
            });
            assert!(since("rx_lost") > 1000, "{kind}: hardly anything was lost");
            // what nodes say by themselves
            assert!(since("rx_frames") + since("rx_lost") < sent + 200, "{kind}: counted more than once");
            let reason = if kind == "tap" { "device_dropped" } else { "rx_no_buffer" };
            let stats = ask("stats");
            assert!(stats["ports"][name]["drops"][reason].as_u64() > Some(1000), "{kind}: {:#}", stats["ports"][name]);
            assert!(pollux(&["stats"]).ok().contains(&format!("lost before: {reason}")));
            ping(&node_of(n), &v4(n + 1));
        }
        lab.down();
    });
}

#[test]
fn frames_that_are_not_free_have_a_holder() {
    world("frames_that_are_not_free_have_a_holder", || {
        let lab = Lab::new(&lan("plxt-held", &FOUR));
        lab.up();
        for n in 1..4 {
            ping(&node_of(0), &v4(n));
        }
        let mut stats = Value::Null;
        wait_until("nothing to be under way", || {
            stats = ask("stats");
            stats["mempool"]["under_way"] == 0
        });
        let pool = &stats["mempool"];
        let by_port: u64 = FOUR.iter().map(|(port, _)| sum(&stats["ports"][port]["held"])).sum();
        assert_eq!(sum(&pool["held"]), by_port, "{stats:#}");
        assert_eq!(pool["free"].as_u64().map(|free| free + by_port), pool["total"].as_u64(), "{stats:#}");
        assert!(stats["ports"]["v1"]["held"]["fill_ring"].as_u64() >= Some(256), "{stats:#}");
        assert!(stats["ports"]["t1"]["held"]["rx_buffers"].as_u64() > Some(0), "{stats:#}");
        assert!(pollux(&["stats"]).ok().contains("\nheld: "));
        lab.down();
    });
}
