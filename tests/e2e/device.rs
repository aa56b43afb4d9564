//! The `af_xdp` kind: an interface that was there before is taken, used, and put back as it was.

use crate::common::wait_until;
use crate::common::world::{output, run, world};
use crate::lab::{Lab, Traces, ask, drops, pollux};
use crate::traffic::{checksum_errors, ping, tcp};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

const YAML: &str = "\
name: plxt-device
domains: { lan: { mtu: 1400 } }
nodes: { plxt-t: {} }
ports:
  nic: { kind: af_xdp, dev: plxt-nic, domain: lan }
  t: { kind: tap, node: plxt-t, ifname: eth0, ip: [10.99.0.1/24], domain: lan }
";

/// A pair: `plxt-nic` here, down, with an MTU of its own; the far end in a namespace, up, with an address.
fn nic() {
    run(&["ip", "netns", "add", "plxt-far"]);
    run(&["ip", "link", "add", "plxt-nic", "mtu", "1400", "type", "veth", "peer", "name", "eth0", "netns", "plxt-far"]);
    run(&["ip", "-n", "plxt-far", "link", "set", "eth0", "mtu", "1400", "up"]);
    run(&["ip", "-n", "plxt-far", "addr", "add", "10.99.0.2/24", "dev", "eth0"]);
}

/// What a user would see changed: flags, MTU, promiscuity, XDP.
fn state() -> String {
    let links: Value = serde_json::from_str(&run(&["ip", "-j", "-d", "link", "show", "plxt-nic"])).expect("JSON");
    let link = &links[0];
    format!("{} {} {} {}", link["flags"], link["mtu"], link["promiscuity"], link["xdp"])
}

#[test]
fn a_device_is_taken_and_put_back_as_it_was() {
    world("a_device_is_taken_and_put_back_as_it_was", || {
        nic();
        let (before, device) = (Traces::now(), state());
        let lab = Lab::new(YAML);
        lab.up();
        assert_ne!(state(), device, "it is up, promiscuous, and has a program");
        ping("plxt-far", "10.99.0.1");
        tcp("plxt-far", "plxt-t", "10.99.0.1", "20M");
        tcp("plxt-t", "plxt-far", "10.99.0.2", "20M");
        assert_eq!(checksum_errors("plxt-far") + checksum_errors("plxt-t"), 0);
        lab.down();
        before.gone();
        assert_eq!(state(), device);
    });
}

#[test]
fn a_device_is_put_back_after_kill_9() {
    world("a_device_is_put_back_after_kill_9", || {
        nic();
        let (before, device) = (Traces::now(), state());
        let lab = Lab::new(YAML);
        lab.up();
        let pid = i32::try_from(ask("status")["pid"].as_i64().expect("a pid")).expect("a pid");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("a daemon");
        wait_until("the daemon to be gone", || kill(Pid::from_raw(pid), None).is_err());
        lab.up();
        ping("plxt-far", "10.99.0.1");
        lab.down();
        before.gone();
        assert_eq!(state(), device, "as it was before the first of the two");
        pollux(&["lab", "down", &lab.file]).ok();
    });
}

#[test]
fn an_mtu_lowered_under_us_is_told_by_name() {
    world("an_mtu_lowered_under_us_is_told_by_name", || {
        nic();
        let lab = Lab::new(YAML);
        lab.up();
        let full = [
            "ip",
            "netns",
            "exec",
            "plxt-t",
            "ping",
            "-n",
            "-M",
            "do",
            "-c",
            "1",
            "-W",
            "1",
            "-s",
            "1300",
            "10.99.0.2",
        ];
        run(&full);
        assert_eq!(drops("nic", "oversize"), 0);
        run(&["ip", "link", "set", "plxt-nic", "mtu", "1280"]);
        // What does not fit any more is counted, not lost on the way.
        wait_until("a frame to be dropped as too long", || {
            output(&full);
            drops("nic", "oversize") > 0
        });
        run(&["ip", "link", "set", "plxt-nic", "mtu", "1400"]);
        wait_until("frames to pass again", || output(&full).status.success());
        lab.down();
    });
}
