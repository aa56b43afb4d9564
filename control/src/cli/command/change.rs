//! Commands that change a running switch.

use super::{Failure, guest, print};
use crate::api::client::Client;
use crate::cli::{DomainChange, FdbChange, PortChange};
use crate::config::document;
use crate::config::{FixedKind, Port};
use crate::view::{Done, FlushAddresses, Flushed, PinAddress, UnpinAddress};
use serde_json::{Map, Value};

pub(super) fn port(client: &Client, change: PortChange) -> Result<(), Failure> {
    match change {
        PortChange::Add { name, spec } => {
            // read as the file is, so that a mistake is found here with its place
            let port = document::parse::<Port>("--spec", &spec)?.config;
            let mut body = serde_json::to_value(&port).map_err(|error| Failure::new(error.to_string()))?;
            body["name"] = name.into();
            client.post::<Done>("/v1/ports", &body)?;
        }
        PortChange::Set { name, changes } => {
            client.patch::<Done>(&format!("/v1/ports/{}", escape(&name)), &patch(&changes)?)?;
        }
        PortChange::Del { name } => {
            client.delete::<Done>(&format!("/v1/ports/{}", escape(&name)), None::<&()>)?;
        }
        PortChange::QemuArgs { name, memory } => print(&guest(client, &name)?.qemu_args(&name, &memory))?,
        PortChange::LibvirtXml { name } => print(&guest(client, &name)?.libvirt_xml())?,
    }
    Ok(())
}

pub(super) fn domain(client: &Client, change: DomainChange) -> Result<(), Failure> {
    let DomainChange::Set { name, changes } = change;
    client.patch::<Done>(&format!("/v1/domains/{}", escape(&name)), &patch(&changes)?)?;
    Ok(())
}

/// A name as part of a path: everything but what names are made of is percent-encoded.
fn escape(name: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    name.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// `flood.unicast=false` and the like as one JSON object. Values are YAML; nothing behind the sign is the default.
fn patch(changes: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut all = Map::new();
    for change in changes {
        let wrong = || Failure::new(format!("`{change}`: write KEY=VALUE, such as isolated=true"));
        let (key, value) = change.split_once('=').ok_or_else(wrong)?;
        if key.is_empty() || key.split('.').any(str::is_empty) {
            return Err(wrong());
        }
        let value = if value.is_empty() { Value::Null } else { document::parse(key, value)?.config };
        insert(&mut all, key, value);
    }
    Ok(all)
}

/// Puts a value where a path of keys leads.
fn insert(object: &mut Map<String, Value>, key: &str, value: Value) {
    let Some((first, rest)) = key.split_once('.') else {
        object.insert(key.to_owned(), value);
        return;
    };
    let inner = object.entry(first).or_insert_with(|| Value::Object(Map::new()));
    if !inner.is_object() {
        *inner = Value::Object(Map::new());
    }
    if let Value::Object(inner) = inner {
        insert(inner, rest, value);
    }
}

pub(super) fn fdb(client: &Client, change: FdbChange) -> Result<(), Failure> {
    match change {
        FdbChange::Add { domain, mac, port, vlan, sticky, filter } => {
            let kind = match (filter, sticky) {
                (true, _) => FixedKind::Filter,
                (false, true) => FixedKind::Sticky,
                (false, false) => FixedKind::Static,
            };
            client.post::<Done>("/v1/fdb", &PinAddress { domain, mac, port, vlan, kind })?;
        }
        FdbChange::Del { domain, mac, vlan } => {
            client.delete::<Done>("/v1/fdb", Some(&UnpinAddress { domain, mac, vlan }))?;
        }
        FdbChange::Flush { domain, port, vlan, mac, kind } => {
            let flush = FlushAddresses { domain, port, vlan, mac, kind };
            let flushed = client.post::<Flushed>("/v1/fdb/flush", &flush)?;
            print(&format!("{} addresses forgotten\n", flushed.entries))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_become_one_object() {
        let words = ["isolated=true", "flood.unicast=false", "flood.broadcast=", "vlan={access: 10}", "macvlan=bridge"];
        let object = patch(&words.map(str::to_owned)).unwrap();
        let wanted = serde_json::json!({
            "isolated": true, "flood": { "unicast": false, "broadcast": null }, "vlan": { "access": 10 }, "macvlan": "bridge"
        });
        assert_eq!(Value::Object(object), wanted);
        for wrong in ["isolated", "=1", "flood.=1", ".a=1"] {
            assert!(patch(&[wrong.to_owned()]).is_err(), "{wrong}");
        }
    }
}
