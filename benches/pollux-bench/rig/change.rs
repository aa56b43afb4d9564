//! Changes to a running switch.

use super::{Rig, Switch};
use crate::failure::Result;
use crate::process::{ip, run};
use std::fmt;

/// What comes and goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// Nothing.
    Nothing,
    /// A port, with its interface.
    Port,
    /// A static address.
    Address,
}

const DEV: &str = "x0";
const PEER: &str = "x1";
const MAC: &str = "02:00:00:00:0c:01";

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Nothing => "nothing",
            Self::Port => "a port",
            Self::Address => "an address",
        })
    }
}

impl Rig {
    /// Adds or removes it.
    pub fn change(&self, change: Change, add: bool) -> Result<()> {
        match (change, &self.switch) {
            (Change::Nothing, _) => Ok(()),
            (Change::Port, Switch::Pollux(daemon)) if add => {
                daemon.order(&["port", "add", DEV, "--spec", "{ kind: veth, domain: lan }"])
            }
            (Change::Port, Switch::Pollux(daemon)) => daemon.order(&["port", "del", DEV]),
            (Change::Address, Switch::Pollux(daemon)) => {
                daemon.order(if add { &["fdb", "add", "lan", MAC, "b"] } else { &["fdb", "del", "lan", MAC] })
            }
            (Change::Port, Switch::Ovs(ovs)) => pair(
                add,
                || ovs.order(&["add-port", "br0", DEV, "--", "set", "Interface", DEV, "type=afxdp"]),
                || ovs.order(&["del-port", "br0", DEV]),
            ),
            (Change::Address, Switch::Ovs(ovs)) => {
                ovs.control(if add { &["fdb/add", "br0", "w0", "0", MAC] } else { &["fdb/del", "br0", "0", MAC] })
            }
            (Change::Port, _) => pair(add, || ip(&format!("link set {DEV} master br0")).map(drop), || Ok(())),
            (Change::Address, _) => {
                let verb = if add { "replace" } else { "del" };
                run(&["bridge", "fdb", verb, MAC, "dev", "w0", "master", "static"]).map(drop)
            }
        }
    }
}

/// A pair that becomes a port, or one that ceases to be and goes.
fn pair(add: bool, join: impl FnOnce() -> Result<()>, leave: impl FnOnce() -> Result<()>) -> Result<()> {
    if add {
        ip(&format!("link add {DEV} numtxqueues 1 numrxqueues 1 type veth peer name {PEER}"))?;
        ip(&format!("link set {PEER} up"))?;
        ip(&format!("link set {DEV} up"))?;
        return join();
    }
    leave()?;
    ip(&format!("link del {DEV}")).map(drop)
}
