//! Labs of other shapes: several workers and queues, cables between domains, addresses that age or are too many, huge
//! pages, and a switch with nothing to do.

use crate::common::packet::Wire;
use crate::common::world::{inside, silence, world};
use crate::common::{frame, wait_until};
use crate::lab::{FOUR, KIND_PAIRS, Lab, Traces, ask, balanced, lan, node, ordered_pairs, pollux};
use crate::traffic::{checksum_errors, node_of, ping, tcp, udp, v4};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, SysconfVar, sysconf};
use std::fs;
use std::time::{Duration, Instant};

const BROADCAST: [u8; 6] = [0xff; 6];

/// The cores this process may use, as many as two.
pub fn two_cores() -> String {
    let cores = core_affinity::get_core_ids().expect("cores");
    let ids: Vec<String> = cores.iter().take(2).map(|core| core.id.to_string()).collect();
    format!("workers: [{}]\n", ids.join(", "))
}

#[test]
fn two_workers_with_two_queues_each_carry_everything() {
    world("two_workers_with_two_queues_each_carry_everything", || {
        let before = Traces::now();
        let yaml = lan("plxt-queues", &FOUR).replace("ifname: eth0", "ifname: eth0, queues: 2");
        let lab = Lab::new(&format!("{}{yaml}", two_cores()));
        lab.up();
        let ports = ask("ports");
        assert!(ports["ports"].as_array().expect("ports").iter().all(|port| port["queues"] == 2), "{ports:#}");
        for (from, to) in ordered_pairs(FOUR.len()) {
            ping(&node_of(from), &v4(to));
        }
        for (from, to) in KIND_PAIRS {
            udp(&node_of(from), &node_of(to), &v4(to));
            tcp(&node_of(from), &node_of(to), &v4(to), "20M");
        }
        for n in 0..FOUR.len() {
            assert_eq!(checksum_errors(&node_of(n)), 0, "checksum errors in {}", node_of(n));
        }
        lab.down();
        before.gone();
    });
}

#[test]
fn a_cable_joins_two_domains() {
    world("a_cable_joins_two_domains", || {
        let lab = Lab::new(
            "name: plxt-cable\n\
             domains: { red: {}, blue: {}, hole: {} }\n\
             nodes: { plxt-r: {}, plxt-b: {} }\n\
             ports:\n  \
               r: { kind: tap, node: plxt-r, ifname: eth0, ip: [10.99.0.1/24], domain: red }\n  \
               b: { kind: veth, node: plxt-b, ifname: eth0, ip: [10.99.0.2/24], domain: blue }\n  \
               red-end: { kind: ring, peer: blue-end, domain: red }\n  \
               blue-end: { kind: ring, peer: red-end, domain: blue }\n  \
               sink: { kind: \"null\", domain: red }\n",
        );
        lab.up();
        ping("plxt-r", "10.99.0.2");
        ping("plxt-b", "10.99.0.1");
        tcp("plxt-r", "plxt-b", "10.99.0.2", "20M");
        tcp("plxt-b", "plxt-r", "10.99.0.1", "20M");
        let stats = ask("stats");
        assert!(stats["ports"]["sink"]["tx_frames"].as_u64() > Some(0), "the sink gets what is flooded: {stats:#}");
        assert!(stats["ports"]["red-end"]["rx_frames"].as_u64() > Some(100));
        balanced();
        // An unplugged cable is no failure of the switch.
        pollux(&["port", "del", "blue-end"]).ok();
        assert_eq!(ask("ports")["ports"].as_array().map(Vec::len), Some(4));
        lab.down();
    });
}

/// Learned entries of a port.
pub fn learned(port: &str) -> usize {
    let fdb = ask("fdb");
    fdb["entries"].as_array().expect("entries").iter().filter(|entry| entry["port"] == port).count()
}

#[test]
fn a_flood_of_addresses_stays_within_its_limit() {
    world("a_flood_of_addresses_stays_within_its_limit", || {
        let yaml = lan("plxt-limit", &FOUR).replace("node: plxt-v1,", "node: plxt-v1, fdb_limit: 16,");
        let lab = Lab::new(&yaml);
        lab.up();
        ping(&node_of(0), &v4(1));
        let others = (learned("t1"), learned("t2"));
        let [flooder, witness] = [2, 3].map(|n| {
            inside(&node_of(n), || {
                silence();
                Wire::open("eth0")
            })
        });
        for window in (0u32..2048).collect::<Vec<_>>().chunks(32) {
            for serial in window {
                let [_, _, high, low] = serial.to_be_bytes();
                flooder.send(&frame(BROADCAST, [0x02, 0x66, 0, 0, high, low], *serial, 60)).expect("sending");
            }
            assert_eq!(witness.receive_all(window.len()).len(), window.len(), "what is not learned still passes");
        }
        assert_eq!(learned("v1"), 16);
        assert!(learned("t1") >= others.0 && learned("t2") >= others.1, "the others keep theirs");
        ping(&node_of(0), &v4(1));
        lab.down();
    });
}

#[test]
fn addresses_age() {
    world("addresses_age", || {
        let yaml = lan("plxt-ageing", &FOUR[..2]).replace("lan: {}", "lan: { ageing: 2s }");
        let lab = Lab::new(&yaml);
        lab.up();
        let wire = inside(&node("t1"), || {
            silence();
            Wire::open("eth0")
        });
        wire.send(&frame(BROADCAST, [0x02, 0, 0, 0, 6, 1], 1, 60)).expect("sending");
        let known = || {
            let fdb = ask("fdb");
            fdb["entries"].as_array().expect("entries").iter().any(|entry| entry["mac"] == "02:00:00:00:06:01")
        };
        wait_until("the address to be learned", known);
        let since = Instant::now();
        wait_until("the address to age", || !known());
        assert!(since.elapsed() > Duration::from_millis(900), "not before its time");
        lab.down();
    });
}

/// Clock ticks of processor time that a process has used.
fn ticks(pid: i64) -> i64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process");
    // Fields 14 and 15, counted behind the name, which may have blanks in it.
    let fields: Vec<&str> = stat.rsplit(") ").next().expect("fields").split_whitespace().collect();
    fields[11].parse::<i64>().expect("ticks") + fields[12].parse::<i64>().expect("ticks")
}

/// Design promise 5. The one test that has to let time pass: what it measures is time.
#[test]
fn an_idle_switch_sleeps() {
    world("an_idle_switch_sleeps", || {
        let lab = Lab::new(&lan("plxt-idle", &FOUR));
        lab.up();
        ping(&node_of(0), &v4(2));
        let pid = ask("status")["pid"].as_i64().expect("a pid");
        let per_second = sysconf(SysconfVar::CLK_TCK).expect("a clock").expect("a clock");
        // The stacks have a few words to say on new interfaces; the quietest of some seconds counts.
        let quietest = (0..5).map(|_| {
            let (since, before) = (Instant::now(), ticks(pid));
            std::thread::sleep(Duration::from_secs(1));
            (ticks(pid) - before) as f64 / per_second as f64 / since.elapsed().as_secs_f64()
        });
        let quietest = quietest.fold(1.0, f64::min);
        assert!(quietest < 0.011, "an idle switch uses {:.1} % of a core", quietest * 100.0);
        lab.down();
    });
}

const NR_HUGEPAGES: &str = "/proc/sys/vm/nr_hugepages";

/// Pages reserved for a test, given back at its end.
struct Reserve(i64);

impl Reserve {
    fn add(pages: i64) {
        let now: i64 = fs::read_to_string(NR_HUGEPAGES).expect("huge pages").trim().parse().expect("a count");
        fs::write(NR_HUGEPAGES, (now + pages).max(0).to_string()).expect("reserving huge pages");
    }

    fn of(pages: i64) -> Self {
        Self::add(pages);
        Self(pages)
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        Self::add(-self.0);
    }
}

/// Huge pages of the machine that somebody uses.
fn pages_in_use() -> i64 {
    let meminfo = fs::read_to_string("/proc/meminfo").expect("/proc/meminfo");
    let value = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)).expect("huge pages");
        line.trim().parse::<i64>().expect("a count")
    };
    value("HugePages_Total:") - value("HugePages_Free:")
}

#[test]
fn huge_pages_come_back() {
    world("huge_pages_come_back", || {
        let _reserve = Reserve::of(64);
        let before = pages_in_use();
        let yaml = format!("memory: {{ frames: 16k, hugepages: required }}\n{}", lan("plxt-huge", &FOUR[..2]));
        let lab = Lab::new(&yaml);
        lab.up();
        assert_eq!(ask("stats")["mempool"]["backing"], "hugetlb-2M");
        assert!(pages_in_use() >= before + 16, "16384 frames of 2048 bytes lie in 16 pages");
        lab.down();
        wait_until("the pages to be free", || pages_in_use() <= before);
        lab.up();
        let pid = i32::try_from(ask("status")["pid"].as_i64().expect("a pid")).expect("a pid");
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("a daemon");
        wait_until("the pages to be free after SIGKILL", || pages_in_use() <= before);
        pollux(&["lab", "down", &lab.file]).ok();
    });
}
