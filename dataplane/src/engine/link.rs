//! What the kernel says of a port's interface: its link and its MTU.

use super::{Engine, EngineError};
use crate::command::Command;
use crate::port::PortId;

impl Engine {
    /// The link of a port went down or came up. While it is down nothing is flooded to it, what is meant for it is
    /// dropped as [`PortDown`](crate::stats::DropReason::PortDown), and what was learned behind it is forgotten
    /// (br_stp_disable_port in net/bridge/br_stp_if.c).
    ///
    /// # Errors
    /// As [`set_port_policy`](Self::set_port_policy).
    pub fn set_link(&mut self, port: PortId, up: bool) -> Result<(), EngineError> {
        let policy = self.port_policy(port)?;
        if let Some(slot) = self.ports[port.index()].open_mut() {
            slot.link = up;
        }
        self.set_port_policy(port, policy)
    }

    /// The device of a port has another MTU: longer frames are dropped there by name.
    pub fn set_mtu(&self, port: PortId, mtu: u32) {
        self.post_all(|| Command::SetMtu(port, mtu));
    }
}
