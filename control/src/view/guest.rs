//! What is shown of a guest, and what starts one: `pollux ports NAME`, `pollux port qemu-args NAME`, `libvirt-xml NAME`.

use crate::config::Role;
use dataplane::eth::MacAddr;
use serde::{Deserialize, Serialize};
use std::fmt::Write;

/// Rights of a socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SocketRights {
    /// Permission bits, in octal.
    pub mode: String,
    /// The user that the file gives it to, by number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub owner: Option<u32>,
    /// The group that the file gives it to, by number.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub group: Option<u32>,
}

impl SocketRights {
    /// Whether a user who is neither root nor whoever runs the switch may connect, as far as the file says.
    fn lets_others_in(&self) -> bool {
        let others = self.mode.bytes().last().is_some_and(|digit| digit & 2 != 0);
        others || self.owner.is_some() || self.group.is_some()
    }
}

/// A vhost-user port in `GET /v1/ports`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestView {
    /// The socket.
    pub socket: String,
    /// Who listens: server means the switch does.
    pub role: Role,
    /// Who may connect, if the switch listens: permission bits, and whether the file gives it to a user or a group.
    #[serde(default)]
    pub rights: SocketRights,
    /// Queue pairs offered.
    pub queues: u16,
    /// Largest MTU.
    pub mtu: u32,
    /// The address that the file gives the guest.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mac: Option<String>,
    /// A front end is connected.
    pub connected: bool,
    /// Times one was.
    pub sessions: u64,
    /// Why the last one went.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last: Option<String>,
    /// Virtio features offered.
    pub offered: Vec<String>,
    /// Of them those that were agreed on.
    pub features: Vec<String>,
    /// Protocol features that were agreed on.
    pub protocol: Vec<String>,
    /// Bytes of guest memory that are mapped.
    pub memory: u64,
    /// By queue pair.
    pub pairs: Vec<PairView>,
}

/// A queue pair.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairView {
    /// The guest uses it.
    pub active: bool,
    /// Descriptors of the guest's receive and transmit ring; none: it does not run.
    pub size: [Option<u16>; 2],
    /// Of them available to the switch.
    pub waiting: [Option<u16>; 2],
    /// Calls made to the guest.
    pub calls: u64,
    /// Kicks that woke a worker.
    pub kicks: u64,
}

impl GuestView {
    /// For people; `before` is the same some time ago, for rates.
    #[must_use]
    pub fn text(&self, before: &Self, seconds: f64) -> String {
        let listens = match self.role {
            Role::Server => "the switch listens",
            Role::Client => "the switch connects",
        };
        let mut text = String::new();
        let mut line = |key: &str, value: String| {
            // writing to a String cannot fail
            let _ = writeln!(text, "{key:<10} {value}");
        };
        line(
            "socket",
            format!("{} ({listens}), front end {}", self.socket, if self.connected { "connected" } else { "absent" }),
        );
        line("sessions", self.sessions.to_string());
        if let Some(last) = &self.last {
            line("last", last.clone());
        }
        line("offered", self.offered.join(" "));
        line("agreed", self.features.join(" "));
        line("protocol", self.protocol.join(" "));
        line("memory", format!("{} MiB, mtu {}", self.memory >> 20, self.mtu));
        for (i, pair) in self.pairs.iter().enumerate() {
            let then = before.pairs.get(i).cloned().unwrap_or_default();
            let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
            let fill = |way: usize| match (pair.waiting[way], pair.size[way]) {
                (Some(waiting), Some(size)) => format!("{waiting}/{size}"),
                _ => "-".to_owned(),
            };
            let used = if pair.active { "in use" } else { "not in use" };
            let rates = (rate(pair.calls, then.calls), rate(pair.kicks, then.kicks));
            line(
                &format!("pair {i}"),
                format!(
                    "{used}; available to the switch: receive {}, transmit {}; {:.0} calls/s, {:.0} kicks/s",
                    fill(0),
                    fill(1),
                    rates.0,
                    rates.1
                ),
            );
        }
        text
    }

    /// The arguments that give a QEMU guest this port, and memory that the switch can see.
    #[must_use]
    pub fn qemu_args(&self, name: &str, memory: &str) -> String {
        format!("{} {}\n", Self::memory_args(memory), self.port_args(name))
    }

    /// Memory of a QEMU guest that the switch can see.
    #[must_use]
    pub fn memory_args(memory: &str) -> String {
        format!("-object memory-backend-memfd,id=mem,size={memory},share=on -numa node,memdev=mem")
    }

    /// This port of a QEMU guest. Without `reconnect` the guest would lose it with the switch.
    #[must_use]
    pub fn port_args(&self, name: &str) -> String {
        let end = match self.role {
            Role::Server => "reconnect=1",
            Role::Client => "server=on,wait=off",
        };
        let (queues, several) = match self.queues {
            1 => (String::new(), ""),
            n => (format!(",queues={n}"), ",mq=on"),
        };
        let mtu = if self.mtu == 1500 { String::new() } else { format!(",host_mtu={}", self.mtu) };
        format!(
            "-chardev socket,id={name},path={},{end} -netdev vhost-user,id={name},chardev={name}{queues} \
             -device virtio-net-pci,netdev={name},mac={}{several}{mtu}",
            self.socket,
            self.mac.clone().unwrap_or_else(|| self.own_mac().to_string())
        )
    }

    /// An address for the guest, always the same and its own: QEMU would give the same to all.
    fn own_mac(&self) -> MacAddr {
        // FNV-1a: spreads names, and stays the same from version to version
        let hash = self
            .socket
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        let [a, b, c, d, e, ..] = hash.to_le_bytes();
        // locally administered, unicast
        MacAddr([0x02, a, b, c, d, e])
    }

    /// The same for libvirt: what belongs into `<domain>`.
    #[must_use]
    pub fn libvirt_xml(&self) -> String {
        // libvirt names the guest's side
        let mode = match self.role {
            Role::Server => "client",
            Role::Client => "server",
        };
        let driver = if self.queues > 1 { format!("    <driver queues='{}'/>\n", self.queues) } else { String::new() };
        let mtu = if self.mtu == 1500 { String::new() } else { format!("    <mtu size='{}'/>\n", self.mtu) };
        let reconnect = match self.role {
            Role::Server => ">\n      <reconnect enabled='yes' timeout='1'/>\n    </source>",
            Role::Client => "/>",
        };
        format!(
            "{}<memoryBacking>\n  <source type='memfd'/>\n  <access mode='shared'/>\n</memoryBacking>\n\
             <devices>\n  <interface type='vhostuser'>\n    <source type='unix' path='{}' mode='{mode}'{reconnect}\n\
             \x20   <model type='virtio'/>\n{driver}{mtu}  </interface>\n</devices>\n",
            self.rights_note(),
            self.socket
        )
    }

    /// What libvirt's user needs, if it may not connect.
    fn rights_note(&self) -> String {
        if self.role == Role::Client || self.rights.lets_others_in() {
            return String::new();
        }
        format!(
            "<!-- libvirt runs QEMU as a user of its own, libvirt-qemu on Debian, who may not connect to this socket: give the\n\
             \x20    port `group: libvirt-qemu`; until then: chgrp libvirt-qemu {} (or chown, setfacl) -->\n",
            self.socket
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guest(role: Role, queues: u16) -> GuestView {
        GuestView { socket: "/run/pollux/vm1.sock".to_owned(), role, queues, mtu: 1500, ..GuestView::default() }
    }

    #[test]
    fn a_guest_is_started_with_shared_memory_and_the_other_role() {
        let args = guest(Role::Server, 1).qemu_args("vm1", "256M");
        assert!(args.contains("size=256M,share=on") && args.contains("vm1.sock,reconnect=1"), "{args}");
        assert!(!args.contains("queues=") && args.contains(",mac=02:"), "{args}");
        let args = guest(Role::Client, 4).qemu_args("vm1", "1G");
        assert!(args.contains("server=on,wait=off") && args.contains("queues=4") && args.contains("mq=on"), "{args}");
        let xml = guest(Role::Client, 4).libvirt_xml();
        assert!(xml.contains("mode='server'/>") && xml.contains("<driver queues='4'/>"), "{xml}");
        assert!(guest(Role::Server, 1).libvirt_xml().contains("mode='client'>"));
    }

    #[test]
    fn what_libvirts_user_needs_is_said_where_it_lacks_it() {
        let noted = |role, mode: &str, group| {
            let rights = SocketRights { mode: mode.to_owned(), owner: None, group };
            GuestView { rights, ..guest(role, 1) }.libvirt_xml().contains("chgrp libvirt-qemu /run/pollux/vm1.sock")
        };
        assert!(noted(Role::Server, "0660", None));
        assert!(!noted(Role::Server, "0660", Some(64055)) && !noted(Role::Server, "0666", None));
        assert!(!noted(Role::Client, "0660", None), "QEMU makes it");
    }
}
