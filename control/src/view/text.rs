//! Answers for people: aligned tables, plain enough for a pipe.

use crate::view::{Domain, Events, Fdb, Groups, Pool, Port, PortStats, Ports, Stats, Status};
use dataplane::stats::Loss;
use std::borrow::Cow;
use std::fmt::Write;

/// A table with its columns as wide as their widest cell. Columns named in `right` are numbers.
#[must_use]
pub fn table(head: &[&str], rows: &[Vec<String>], right: &[usize]) -> String {
    let cell_width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = head.iter().enumerate().map(|(i, name)| cell_width(i).max(name.chars().count())).collect();
    let mut text = String::new();
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            let width = widths.get(i).copied().unwrap_or(0);
            // writing to a String cannot fail
            let _ =
                if right.contains(&i) { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:<width$}  ") };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `pollux status`.
#[must_use]
pub fn status(status: &Status) -> String {
    let memory = &status.memory;
    let mut rows = vec![
        (
            "switch",
            format!("{} (pollux {}, pid {}, up {})", status.name, status.version, status.pid, uptime(status.uptime_s)),
        ),
        ("socket", status.socket.clone()),
        ("workers", workers(status)),
        ("memory", format!("{} frames, {} in {}", memory.frames, bytes(memory.bytes), memory.backing)),
        ("kernel", format!("{} besides (128 bytes per frame and AF_XDP queue)", bytes(memory.kernel_bytes))),
    ];
    rows.extend(memory.report.iter().map(|line| ("", format!("not {line}"))));
    let blocked = match status.ports_blocked {
        0 => String::new(),
        n => format!(", {n} blocked because of a loop"),
    };
    rows.push(("ports", format!("{} open, {} failed{blocked}", status.ports_open, status.ports_failed)));
    for (name, domain) in &status.domains {
        let what = domain_text(domain);
        rows.push(("domain", format!("{name}: {what}")));
    }
    rows.extend(status.mirrors.iter().map(|(name, what)| ("mirror", format!("{name}: {what}"))));
    if !status.nodes.is_empty() {
        rows.push(("nodes", status.nodes.join(" ")));
    }
    rows.into_iter().fold(String::new(), |mut text, (key, value)| {
        // writing to a String cannot fail
        let _ = writeln!(text, "{key:<8} {value}");
        text
    })
}

fn domain_text(domain: &Domain) -> String {
    let mut parts = vec![domain.mode.clone()];
    if domain.mode == "macvlan" {
        parts.extend(domain.uplink.iter().map(|port| format!("uplink {port}")));
        parts.extend(domain.host.iter().map(|port| format!("host {port}")));
    } else if domain.ageing_s == 0 {
        parts.push("learns nothing".to_owned());
    } else {
        parts.push(format!("ageing {}s", domain.ageing_s));
    }
    let counts =
        [format!("mtu {}", domain.mtu), format!("{} ports", domain.ports), format!("{} addresses", domain.addresses)];
    parts.extend(counts);
    parts.extend(domain.features.iter().cloned());
    parts.join(", ")
}

fn uptime(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{}s", seconds / 60, seconds % 60),
        _ => format!("{}h{}m", seconds / 3600, seconds / 60 % 60),
    }
}

fn bytes(n: u64) -> String {
    match n {
        0..0x10_0000 => format!("{} KiB", n >> 10),
        _ => format!("{} MiB", n >> 20),
    }
}

/// `pollux ports NAME`: one port.
#[must_use]
pub fn port(port: &Port) -> String {
    let rows = [
        ("port", port.name.clone()),
        ("kind", format!("{} in domain {}", port.kind, port.domain)),
        ("link", port.reason.as_ref().map_or_else(|| port.link.clone(), |reason| format!("{}: {reason}", port.link))),
        ("mode", port.mode.clone()),
        ("queues", port.queues.to_string()),
        ("interface", port.ifname.clone().unwrap_or_else(|| "-".to_owned())),
        ("addresses", port.ip.join(" ")),
        ("role", port.role.clone()),
        ("owns", port.macs.join(" ")),
        ("vlan", port.vlan.clone()),
        ("control", port.control_protocols.clone()),
        ("other", port.flags.join(", ")),
    ];
    rows.into_iter().filter(|(_, value)| !value.is_empty()).fold(String::new(), |mut text, (key, value)| {
        // writing to a String cannot fail
        let _ = writeln!(text, "{key:<10} {value}");
        text
    })
}

/// `pollux ports`: what each is, then what layer 2 does there.
#[must_use]
pub fn ports(ports: &Ports) -> String {
    let row = |port: &Port| {
        let interface =
            port.ifname.as_ref().map(|name| format!("{name} ({})", port.place.as_deref().unwrap_or("the host")));
        vec![
            port.name.clone(),
            port.kind.clone(),
            port.domain.clone(),
            port.link.clone(),
            port.queues.to_string(),
            interface.unwrap_or_else(|| "-".to_owned()),
            port.reason.clone().unwrap_or_else(|| port.mode.clone()),
        ]
    };
    let rows: Vec<_> = ports.ports.iter().map(row).collect();
    let mut text = table(&["PORT", "KIND", "DOMAIN", "LINK", "QUEUES", "INTERFACE", "MODE"], &rows, &[4]);
    let rows: Vec<_> = ports.ports.iter().map(layer2).collect();
    text.push('\n');
    text.push_str(&table(&["PORT", "ROLE", "VLAN", "CONTROL-PROTOCOLS", "OTHER"], &rows, &[]));
    text
}

fn layer2(port: &Port) -> Vec<String> {
    let other = if port.flags.is_empty() { "-".to_owned() } else { port.flags.join(", ") };
    vec![port.name.clone(), port.role.clone(), port.vlan.clone(), port.control_protocols.clone(), other]
}

fn vlan_text(vlan: u16) -> String {
    if vlan == 0 { "-".to_owned() } else { vlan.to_string() }
}

/// `pollux groups`.
#[must_use]
pub fn groups(groups: &Groups) -> String {
    let asked = groups.groups.iter().map(|group| {
        let ports: Vec<_> = group.ports.iter().map(|(port, seconds)| format!("{port} ({seconds}s)")).collect();
        vec![group.domain.clone(), vlan_text(group.vlan), group.group.clone(), ports.join(" ")]
    });
    let routers = groups.routers.iter().map(|router| {
        vec![router.domain.clone(), vlan_text(router.vlan), "all (router)".to_owned(), router.port.clone()]
    });
    table(&["DOMAIN", "VLAN", "GROUP", "PORTS"], &asked.chain(routers).collect::<Vec<_>>(), &[])
}

/// `pollux events`.
#[must_use]
pub fn events(events: &Events) -> String {
    let newest = events.events.last().map_or(0, |event| event.unix_ms);
    let row = |event: &crate::view::Event| {
        let ago = format!("-{:.1}s", (newest.saturating_sub(event.unix_ms) / 100) as f64 / 10.0);
        vec![event.number.to_string(), ago, event.kind.clone(), event.text.clone()]
    };
    let rows: Vec<_> = events.events.iter().map(row).collect();
    table(&["NR", "SINCE-LAST", "KIND", "WHAT"], &rows, &[0, 1])
}

/// `pollux fdb`.
#[must_use]
pub fn fdb(fdb: &Fdb) -> String {
    let row = |entry: &crate::view::FdbEntry| {
        let age = if entry.kind != "learned" { "-".to_owned() } else { format!("{}s", entry.age_s) };
        let port = if entry.port.is_empty() { "-".to_owned() } else { entry.port.clone() };
        let vlan = vlan_text(entry.vlan);
        vec![entry.domain.clone(), vlan, entry.mac.clone(), port, entry.kind.clone(), age]
    };
    let rows: Vec<_> = fdb.entries.iter().map(row).collect();
    table(&["DOMAIN", "VLAN", "MAC", "PORT", "KIND", "AGE"], &rows, &[5])
}

/// `core 1 adaptive, core 2 busy`
fn workers(status: &Status) -> String {
    let each = status.workers.iter().zip(&status.polls).map(|(core, poll)| format!("core {core} {poll}"));
    each.collect::<Vec<_>>().join(", ")
}

/// `pollux stats`.
#[must_use]
pub fn stats(stats: &Stats) -> String {
    let removed =
        Some(("(removed)", &stats.removed)).filter(|(_, sum)| sum.rx_frames + sum.tx_frames + sum.flood_copies > 0);
    let named = stats.ports.iter().map(|(name, port)| (name.as_str(), port));
    let rows: Vec<_> = named.chain(removed).map(|(name, port)| counters(name, port)).collect();
    let heads = ["PORT", "RX", "RX-BYTES", "TX", "TX-BYTES", "COPIES", "HELD", "DROPS"];
    let mut text = table(&heads, &rows, &[1, 2, 3, 4, 5, 6]);
    let worker = |worker: &crate::view::Worker| {
        let busy = format!("{:.1}%", worker.busy * 100.0);
        let (burst, cost) = (format!("{:.1}", worker.frames_per_burst), format!("{:.0}", worker.ns_per_frame));
        let counts = [worker.frames, worker.sleeps, worker.wakeups].map(|n| n.to_string());
        let [frames, sleeps, wakeups] = counts;
        vec![worker.core.to_string(), busy, frames, burst, cost, sleeps, wakeups]
    };
    let rows: Vec<_> = stats.workers.iter().map(worker).collect();
    text.push('\n');
    text.push_str(&table(
        &["CORE", "BUSY", "FRAMES", "PER-BURST", "NS/FRAME", "SLEEPS", "WAKEUPS"],
        &rows,
        &[0, 1, 2, 3, 4, 5, 6],
    ));
    let pool = &stats.mempool;
    // writing to a String cannot fail
    let _ = writeln!(text, "\nmempool: {} of {} frames free, {}", pool.free, pool.total, pool.backing);
    let _ = writeln!(text, "held: {}", held(pool));
    text
}

/// Who has the frames that are not free.
fn held(pool: &Pool) -> String {
    let words = |cause: &str| match cause {
        "fill_ring" => "to receive into (AF_XDP)",
        "tx_ring" => "being sent (AF_XDP)",
        "rx_buffers" => "in receive buffers (TAP)",
        "cable" => "on cables (ring)",
        _ => "elsewhere",
    };
    let by_cause = pool.held.iter().map(|(cause, n)| format!("{n} {}", words(cause)));
    by_cause.chain([format!("{} under way", pool.under_way)]).collect::<Vec<_>>().join(", ")
}

fn counters(name: &str, port: &PortStats) -> Vec<String> {
    let numbers = [port.rx_frames, port.rx_bytes, port.tx_frames, port.tx_bytes, port.flood_copies];
    let mut row = vec![name.to_owned()];
    row.extend(numbers.iter().chain([&port.held.values().sum()]).map(ToString::to_string));
    row.push(drops(port));
    row
}

/// Drops by reason, and apart from them what the kernel lost before the switch could read it and after it was sent.
fn drops(port: &PortStats) -> String {
    let lost_before = |name: &str| Loss::ALL.iter().any(|loss| loss.is_before() && loss.name() == name);
    let (before, drops): (Vec<_>, Vec<_>) = port.drops.iter().partition(|(name, _)| lost_before(name));
    let list = |lead: &str, counts: Vec<(&Cow<'static, str>, &u64)>| {
        let counts: Vec<_> = counts.iter().map(|(reason, n)| format!("{reason} {n}")).collect();
        (!counts.is_empty()).then(|| format!("{lead}{}", counts.join(", ")))
    };
    let after = port.tx_lost.iter().collect();
    let parts = [list("", drops), list("lost before: ", before), list("lost after: ", after)];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "-".to_owned() } else { parts.join("; ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["a".to_owned(), "1".to_owned()], vec!["long".to_owned(), "1000".to_owned()]];
        assert_eq!(table(&["X", "N"], &rows, &[1]), "X        N\na        1\nlong  1000\n");
    }

    #[test]
    fn sizes_and_times_read_well() {
        assert_eq!((bytes(32 << 20), bytes(4096)), ("32 MiB".to_owned(), "4 KiB".to_owned()));
        assert_eq!((uptime(59), uptime(61), uptime(7265)), ("59s".to_owned(), "1m1s".to_owned(), "2h1m".to_owned()));
    }
}
