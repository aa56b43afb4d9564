//! Who may connect to the socket of a vhost-user port: `mode`, `owner`, `group`.

use super::Check;
use crate::config::{Port, Role};
use nix::unistd::{Group, User};

/// Mode of a socket where none is written: its owner and its group may connect.
const MODE: u32 = 0o660;

/// Rights of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// Permission bits.
    pub mode: u32,
    /// The user it is given to; else whoever runs the switch.
    pub owner: Option<u32>,
    /// The group it is given to.
    pub group: Option<u32>,
}

impl Default for Rights {
    fn default() -> Self {
        Self { mode: MODE, owner: None, group: None }
    }
}

/// The rights that a port's keys say, as far as they can be.
pub(super) fn rights(port: &Port, path: &str, check: &mut Check<'_>) -> Rights {
    let written = [("mode", &port.mode), ("owner", &port.owner), ("group", &port.group)];
    if port.role == Some(Role::Client) {
        for (key, _) in written.iter().filter(|(_, value)| value.is_some()) {
            let what = format!("`{key}` of a socket that the front end makes");
            check.bad(&format!("{path}.{key}"), what, "remove it, or `role: client`");
        }
        return Rights::default();
    }
    let user = |name: &str| User::from_name(name).ok().flatten().map(|user| user.uid.as_raw());
    let group = |name: &str| Group::from_name(name).ok().flatten().map(|group| group.gid.as_raw());
    let mut id = |key: &str, kind: &str, value: &Option<String>, find: &dyn Fn(&str) -> Option<u32>| {
        let text = value.as_deref()?;
        let id = text.parse().ok().or_else(|| find(text));
        if id.is_none() {
            let remedy = format!("create it, or write the number of a {kind}");
            check.bad(&format!("{path}.{key}"), format!("there is no {kind} `{text}` here"), remedy);
        }
        id
    };
    let (owner, group) = (id("owner", "user", &port.owner, &user), id("group", "group", &port.group, &group));
    let mode = port.mode.as_deref().map_or(Some(MODE), mode);
    if mode.is_none() {
        let what = format!("`{}` cannot be the mode of a socket", port.mode.as_deref().unwrap_or_default());
        check.bad(&format!("{path}.mode"), what, "write permission bits in octal: `mode: \"0660\"`");
    }
    Rights { mode: mode.unwrap_or(MODE), owner, group }
}

/// Permission bits in octal, with or without 0o.
fn mode(text: &str) -> Option<u32> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let is_octal = !digits.is_empty() && digits.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
    u32::from_str_radix(digits, 8).ok().filter(|mode| is_octal && *mode <= 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_permission_bits_in_octal() {
        assert_eq!(["0660", "666", "0o600", "0"].map(mode), [Some(0o660), Some(0o666), Some(0o600), Some(0)]);
        assert_eq!(["", "0o", "+660", "0888", "1777", "rw-rw----"].map(mode), [None; 6]);
    }
}
