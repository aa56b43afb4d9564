//! Namespaces, pairs, bridge and macvlan devices.

use super::crowd::Crowd;
use super::extent::Extent;
use super::{DEV_A, DEV_B, IP_A, IP_B, MAC_A, MAC_B, MAC_FLOWS, Ports, Stations, Subject};
use crate::bpf;
use crate::failure::{During, Result};
use crate::process::{ip, run, within};
use crate::world::{A, B, World, add_netns};

const REDIRECT: &str = include_str!("redirect.bpf.c");

/// By default a veth has one per core, and would spread flows over queues that one switch thread serves anyway.
fn queues(number: usize) -> String {
    format!("numtxqueues {number} numrxqueues {number}")
}

/// What was made; removed on drop.
#[derive(Debug, Default)]
pub struct Wiring {
    links: Vec<&'static str>,
    namespaces: Vec<&'static str>,
    crowded: bool,
}

impl Wiring {
    /// All that `subject` needs before it starts.
    pub fn lay(world: &World, subject: Subject, stations: Stations, extent: Extent<'_>) -> Result<Self> {
        let mut wiring = Self::default();
        for name in [A, B] {
            // known before it is made: what is half made is removed too
            wiring.namespaces.push(name);
            add_netns(name)?;
        }
        match (subject, stations) {
            (Subject::Pollux(Ports::Veth | Ports::Tap, _), _) => {}
            (Subject::Direct, _) => wiring.pair_between_stations()?,
            (Subject::Macvlan, Stations::Frames) => wiring.macvlan_behind_pair()?,
            (Subject::Macvlan, _) => wiring.two_macvlans()?,
            // the kernel works on the sender's core, however many queues there are
            (Subject::Bridge, _) => wiring.pair_to_each_station(1)?,
            _ => wiring.pair_to_each_station(extent.cores.len())?,
        }
        match subject {
            Subject::Bridge => wiring.bridge()?,
            Subject::XdpRedirect => redirect(world)?,
            _ => {}
        }
        wiring.crowd(world, subject, extent.crowd())?;
        Ok(wiring)
    }

    /// Pairs for more ports, and bridges for more domains, where the subject does not make them itself.
    fn crowd(&mut self, world: &World, subject: Subject, crowd: Crowd) -> Result<()> {
        if crowd.domains > 0 && subject == Subject::Bridge {
            self.crowded = true;
            crowd.bridges(world)?;
        }
        if crowd.ports == 0 || crowd.taps || matches!(subject, Subject::Pollux(Ports::Veth | Ports::Tap, _)) {
            return Ok(());
        }
        self.crowded = true;
        let enslave = |dev: &str| (subject == Subject::Bridge).then(|| format!("link set {dev} master br0"));
        crowd.lay(world, enslave)
    }

    fn pair_to_each_station(&mut self, number: usize) -> Result<()> {
        let queues = queues(number);
        for (ours, theirs, netns, mac) in [("v0", DEV_A, A, MAC_A), ("w0", DEV_B, B, MAC_B)] {
            self.links.push(ours);
            ip(&format!("link add {ours} {queues} type veth peer name {theirs} netns {netns} address {mac} {queues}"))?;
            ip(&format!("link set {ours} up"))?;
        }
        Ok(())
    }

    fn pair_between_stations(&mut self) -> Result<()> {
        ip(&format!(
            "link add {DEV_A} netns {A} address {MAC_A} type veth peer name {DEV_B} netns {B} address {MAC_B}"
        ))?;
        Ok(())
    }

    fn bridge(&mut self) -> Result<()> {
        self.links.push("br0");
        ip("link add br0 type bridge stp_state 0 mcast_snooping 0")?;
        for dev in ["v0", "w0"] {
            ip(&format!("link set {dev} master br0"))?;
        }
        ip("link set br0 up")?;
        for mac in [MAC_B, MAC_FLOWS] {
            run(&["bridge", "fdb", "replace", mac, "dev", "w0", "master", "static"])?;
        }
        Ok(())
    }

    /// A's frames come in by a pair whose other end carries B's macvlan.
    fn macvlan_behind_pair(&mut self) -> Result<()> {
        self.links.push("v0");
        let one = queues(1);
        ip(&format!("link add v0 {one} type veth peer name {DEV_A} netns {A} address {MAC_A} {one}"))?;
        ip("link set v0 up")?;
        self.macvlan("v0", DEV_B, B, MAC_B)
    }

    /// Both stations on macvlans of one device.
    fn two_macvlans(&mut self) -> Result<()> {
        self.links.push("v0");
        ip("link add v0 type veth peer name v0peer")?;
        ip("link set v0peer up")?;
        ip("link set v0 up")?;
        self.macvlan("v0", DEV_A, A, MAC_A)?;
        self.macvlan("v0", DEV_B, B, MAC_B)
    }

    fn macvlan(&mut self, lower: &str, name: &str, netns: &str, mac: &str) -> Result<()> {
        ip(&format!("link add link {lower} name {name} netns {netns} address {mac} type macvlan mode bridge"))?;
        Ok(())
    }
}

impl Drop for Wiring {
    fn drop(&mut self) {
        // the pairs first: deleting a namespace removes its interfaces later, in the background, while the next rig
        // takes their names
        if self.crowded {
            Crowd::remove();
        }
        for link in self.links.iter().rev() {
            let _not_made = ip(&format!("link del {link}"));
        }
        for name in &self.namespaces {
            let _not_made = ip(&format!("netns del {name}"));
        }
    }
}

/// A program on each end that sends to the other.
fn redirect(world: &World) -> Result<()> {
    for (from, to) in [("v0", "w0"), ("w0", "v0")] {
        let path = format!("/sys/class/net/{to}/ifindex");
        let index = std::fs::read_to_string(&path).during(&path)?;
        let define = format!("-DTARGET={}", index.trim());
        let object = bpf::compile(world, &format!("redirect-{from}"), REDIRECT, &[&define])?;
        bpf::attach("", from, "xdpdrv", &object)?;
    }
    Ok(())
}

/// Sets the stations up once the subject runs (some subjects make the stations' interfaces).
pub fn raise(subject: Subject, stations: Stations) -> Result<()> {
    let both = [(A, DEV_A, IP_A, IP_B, MAC_B), (B, DEV_B, IP_B, IP_A, MAC_A)];
    for (netns, dev, own, other, mac) in both {
        ip(&format!("-n {netns} link set {dev} up"))?;
        if stations != Stations::Frames {
            ip(&format!("-n {netns} addr replace {own}/24 dev {dev}"))?;
            // no ARP in the middle of a measurement
            ip(&format!("-n {netns} neigh replace {other} lladdr {mac} dev {dev} nud permanent"))?;
        }
        if stations == Stations::Ip && subject.needs_offloads_off() {
            run(&within(netns, &["ethtool", "-K", dev, "tx", "off"]))?;
        }
        if stations != Stations::Frames && subject == Subject::XdpRedirect {
            // a veth without it takes no frame that was redirected to its peer
            run(&within(netns, &["ethtool", "-K", dev, "gro", "on"]))?;
        }
    }
    Ok(())
}
