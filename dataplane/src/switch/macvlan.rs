//! Domains of mode macvlan: frames go to the port that owns the address, as drivers/net/macvlan.c does it. Nothing is
//! learned, nothing unknown is flooded.
//!
//! The *wire* is the uplink, the *host* the lower device's own stack, a *device* a port that owns addresses. The steps
//! R2 to R12 are those of `macvlan_handle_frame`, in its order. What is different: multicast goes to every device of
//! the right mode, since we do not know what groups the stack behind a port has joined, and fragments of multicast are
//! not put together.

use super::guard::Pace;
use super::macs::Macs;
use super::policy::{MacvlanDomain, MacvlanMode, PortPolicy, Rate, Role};
use crate::eth::MacAddr;
use crate::port::PortId;
use crate::stats::DropReason;

const PRIVATE: u8 = 1;
const VEPA: u8 = 2;
const BRIDGE: u8 = 4;
const PASSTHRU: u8 = 8;
const SOURCE: u8 = 16;

/// What a verdict looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Destination.
    pub dst: MacAddr,
    /// Source; not examined for validity, as in the kernel.
    pub src: MacAddr,
    /// Its EtherType is that of MAC control (0x8808): no device gets such a frame by its group address.
    pub mac_control: bool,
}

/// A port that owns addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Device {
    port: PortId,
    mode: u8,
    up: bool,
    nodst: bool,
    promisc_rx: bool,
}

/// Index of a device.
type Index = usize;

/// The ports of a domain and the addresses they own: made by control, the same for all workers, never changed.
#[derive(Debug)]
pub struct Table {
    extensions: MacvlanDomain,
    wire: Option<PortId>,
    host: Option<PortId>,
    devices: Vec<Device>,
    /// Whose address it is; devices that are down own none.
    owners: Macs<Index>,
    /// Addresses of the host, for `host_reach`.
    host_macs: Macs<()>,
    /// Which devices listen to that source.
    listeners: Macs<Vec<Index>>,
    /// The one device that takes everything.
    passthru: Option<Index>,
    /// The largest broadcast queue of all devices.
    bc_queue_len: u32,
    bc_pace: Pace,
}

impl Table {
    /// No ports.
    #[must_use]
    pub fn empty(extensions: MacvlanDomain) -> Self {
        Self::new(extensions, std::iter::empty())
    }

    /// These ports; policies have been checked.
    #[must_use]
    pub fn new<'a>(extensions: MacvlanDomain, ports: impl IntoIterator<Item = (PortId, &'a PortPolicy)>) -> Self {
        let mut table = Self {
            extensions,
            wire: None,
            host: None,
            devices: Vec::new(),
            owners: Macs::default(),
            host_macs: Macs::default(),
            listeners: Macs::default(),
            passthru: None,
            bc_queue_len: 0,
            bc_pace: Pace::NONE,
        };
        for (port, policy) in ports {
            table.add(port, policy);
        }
        let len = table.bc_queue_len;
        table.bc_pace = Pace::new(Rate { per_second: len.saturating_mul(1000), burst: len }, 1);
        table
    }

    fn add(&mut self, port: PortId, policy: &PortPolicy) {
        let up = policy.enabled;
        match &policy.role {
            Role::Bridge(_) => {}
            Role::Uplink => self.wire = up.then_some(port),
            Role::Host { macs } => {
                self.host = up.then_some(port);
                self.host_macs.extend(macs.iter().map(|mac| (mac.to_u64(), ())));
            }
            Role::Macvlan(device) => {
                let (index, mode) = (self.devices.len(), bit(&device.mode));
                let Self { devices, owners, listeners, .. } = self;
                devices.push(Device { port, mode, up, nodst: device.nodst, promisc_rx: device.promisc_rx });
                if up {
                    owners.extend(device.macs.iter().map(|mac| (mac.to_u64(), index)));
                }
                if let MacvlanMode::Source(sources) = &device.mode {
                    // Once, however often an address is listed: no port is to get a frame twice.
                    for mac in sources {
                        let listening = listeners.entry(mac.to_u64()).or_default();
                        if listening.last() != Some(&index) {
                            listening.push(index);
                        }
                    }
                }
                self.passthru = self.passthru.or((mode == PASSTHRU).then_some(index));
                self.bc_queue_len = self.bc_queue_len.max(device.bc_queue_len);
            }
        }
    }

    /// How much multicast from the wire is copied: the largest of the devices' queues, each millisecond.
    pub(super) fn broadcast_pace(&self) -> Pace {
        self.bc_pace
    }

    /// Where a frame goes that came in on `from`: `to`, which is empty before.
    ///
    /// # Errors
    /// Why it goes nowhere.
    #[inline]
    pub fn verdict(&self, from: (PortId, &Role), frame: &Frame, to: &mut Vec<PortId>) -> Result<(), DropReason> {
        match from.1 {
            Role::Uplink => self.wire_rx(frame, true, to),
            Role::Host { .. } => self.host_tx(frame, to),
            Role::Macvlan(device) => self.device_tx(from.0, bit(&device.mode), frame, to),
            Role::Bridge(_) => Err(DropReason::NoOwner),
        }
    }

    /// Whether a frame from the wire counts towards the rate of broadcast.
    #[must_use]
    pub fn is_queued(&self, role: &Role, frame: &Frame) -> bool {
        matches!(role, Role::Uplink) && frame.dst.is_multicast() && !self.devices.is_empty()
    }

    /// The verdict on a multicast frame from the wire beyond the rate of broadcast: those who listen to its source
    /// and the host still get it, R5 fails.
    ///
    /// # Errors
    /// Why it goes nowhere.
    pub fn overflow(&self, frame: &Frame, to: &mut Vec<PortId>) -> Result<(), DropReason> {
        self.wire_rx(frame, false, to).map_err(|_| DropReason::BroadcastQueue)
    }

    /// `macvlan_handle_frame`: a frame on the lower device.
    fn wire_rx(&self, frame: &Frame, room: bool, to: &mut Vec<PortId>) -> Result<(), DropReason> {
        let listeners = self.listeners.get(&frame.src.to_u64()).map_or(&[][..], Vec::as_slice);
        let listeners = listeners.iter().map(|index| &self.devices[*index]);
        to.extend(listeners.clone().filter(|device| device.up).map(|device| device.port)); // R2, R8
        if listeners.clone().any(|device| device.nodst) {
            return if to.is_empty() { Err(DropReason::SourceOnly) } else { Ok(()) }; // R3, R8
        }
        let refused = if frame.dst.is_multicast() {
            self.group_rx(frame, room, to);
            None
        } else {
            self.unicast_rx(frame, to)
        };
        if to.is_empty() { Err(refused.unwrap_or(DropReason::NoOwner)) } else { Ok(()) }
    }

    fn group_rx(&self, frame: &Frame, room: bool, to: &mut Vec<PortId>) {
        let sender = self.owner(frame.src);
        let modes = match sender.map(|sender| sender.mode) {
            None => PRIVATE | VEPA | PASSTHRU | BRIDGE,
            Some(VEPA) => VEPA | BRIDGE,
            Some(BRIDGE) => VEPA,
            Some(_) => return to.extend(sender.map(|sender| sender.port).filter(|port| !to.contains(port))), // R4
        };
        if !frame.mac_control && room {
            self.spread(modes, sender.map(|sender| sender.port), to); // R5, R6
        }
        to.extend(self.host); // R7
    }

    /// Why no device gets it, where there is a reason of its own.
    fn unicast_rx(&self, frame: &Frame, to: &mut Vec<PortId>) -> Option<DropReason> {
        if let Some(passthru) = self.passthru {
            let device = &self.devices[passthru];
            to.extend(device.up.then_some(device.port)); // R9
            return (!device.up).then_some(DropReason::PortDown);
        }
        match self.owner(frame.dst) {
            Some(device) if device.mode == PRIVATE && self.is_reflected(frame) => {
                return Some(DropReason::PrivateReflected);
            }
            Some(device) if device.mode != SOURCE => to.push(device.port), // R12
            _ => {
                to.extend(self.host); // R10
                self.unknown(PRIVATE | VEPA | BRIDGE, None, to);
            }
        }
        None
    }

    /// Whether a device's frame came back, in a domain that keeps such from private devices.
    fn is_reflected(&self, frame: &Frame) -> bool {
        self.extensions.strict_private && self.owner(frame.src).is_some()
    }

    /// `macvlan_queue_xmit`: a frame from a device.
    fn device_tx(&self, from: PortId, mode: u8, frame: &Frame, to: &mut Vec<PortId>) -> Result<(), DropReason> {
        if frame.dst.is_multicast() {
            if mode == BRIDGE && !frame.mac_control {
                self.spread(BRIDGE, Some(from), to);
            }
            to.extend(self.host.filter(|_| self.extensions.host_reach));
            to.extend(self.wire);
        } else if mode == BRIDGE && self.owner(frame.dst).is_some_and(|owner| owner.mode == BRIDGE) {
            return self.wire_rx(frame, true, to);
        } else if self.is_for_host(frame) {
            to.extend(self.host);
        } else {
            to.extend(self.wire);
            if mode == BRIDGE && self.owner(frame.dst).is_none() {
                self.unknown(BRIDGE, Some(from), to);
            }
        }
        if to.is_empty() { Err(DropReason::NoDestination) } else { Ok(()) }
    }

    fn is_for_host(&self, frame: &Frame) -> bool {
        self.extensions.host_reach && self.host.is_some() && self.host_macs.contains_key(&frame.dst.to_u64())
    }

    /// A frame of the lower device's own stack: it goes to the wire, whatever devices there are.
    fn host_tx(&self, frame: &Frame, to: &mut Vec<PortId>) -> Result<(), DropReason> {
        let owner = self.owner(frame.dst);
        match owner.filter(|device| self.extensions.host_reach && device.mode != SOURCE) {
            Some(device) => to.push(device.port),
            None => {
                if self.extensions.host_reach && frame.dst.is_multicast() && !frame.mac_control {
                    self.spread(PRIVATE | VEPA | PASSTHRU | BRIDGE, None, to);
                }
                to.extend(self.wire);
            }
        }
        if to.is_empty() { Err(DropReason::NoDestination) } else { Ok(()) }
    }

    /// Every device of these modes but one.
    fn spread(&self, modes: u8, except: Option<PortId>, to: &mut Vec<PortId>) {
        let wants = |device: &&Device| device.up && device.mode & modes != 0 && except != Some(device.port);
        to.extend(self.devices.iter().filter(wants).map(|device| device.port));
    }

    /// Every device of these modes that takes frames for unknown addresses, but one.
    fn unknown(&self, modes: u8, except: Option<PortId>, to: &mut Vec<PortId>) {
        let listens = self.devices.iter().filter(|device| device.promisc_rx);
        let wants = |device: &&Device| device.up && device.mode & modes != 0 && except != Some(device.port);
        to.extend(listens.filter(wants).map(|device| device.port));
    }

    #[inline]
    fn owner(&self, mac: MacAddr) -> Option<&Device> {
        self.owners.get(&mac.to_u64()).map(|index| &self.devices[*index])
    }
}

fn bit(mode: &MacvlanMode) -> u8 {
    match mode {
        MacvlanMode::Private => PRIVATE,
        MacvlanMode::Vepa => VEPA,
        MacvlanMode::Bridge => BRIDGE,
        MacvlanMode::Passthru => PASSTHRU,
        MacvlanMode::Source(_) => SOURCE,
    }
}

#[cfg(test)]
mod tests;
