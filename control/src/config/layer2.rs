//! What layer 2 can be asked for, as written: macvlan modes, flooding, control protocols, guards, snooping, mirrors.

use super::vlan::VidRange;
use crate::named::Named;
use crate::units::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// How a port of a macvlan domain treats its neighbours; as the modes of the kernel's macvlan devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Macvlan {
    /// Talks to the wire only; broadcasts of its own that come back reach no neighbour.
    Private,
    /// Talks to the wire; a switch there that sends frames back (reflective relay) joins the neighbours.
    Vepa,
    /// Talks to the other bridge ports directly, to everybody else by the wire.
    Bridge,
    /// The only port of its domain: everything from the wire is its own, whatever the address.
    Passthru,
    /// Receives what the stations in `sources` send, whatever the destination.
    Source,
}

/// What is sent to a port though nobody knows that it is for it; all on unless switched off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Flood {
    /// Unicast to unknown addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unicast: Option<bool>,
    /// Multicast.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multicast: Option<bool>,
    /// Broadcast.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<bool>,
}

/// Whether multicast routers are behind a port, for snooping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Router {
    /// While queries come from there.
    Auto,
    /// Always: it gets every group.
    Always,
    /// Never, whatever comes from there.
    Never,
}

/// What a guard does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Drop (or hold, or block), and report.
    #[default]
    Drop,
    /// Report and count only.
    Observe,
}

/// Frames per second that a port may have copied to everybody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// Broadcast frames per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub broadcast: Option<u32>,
    /// Multicast frames per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub multicast: Option<u32>,
    /// Frames per second to unknown unicast addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unknown_unicast: Option<u32>,
    /// Frames at once. Default: as many as in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
    /// What happens to the rest.
    #[serde(default)]
    pub action: Action,
}

/// Who may send from a port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortSecurity {
    /// The source addresses allowed. Default: the port's own `mac`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub macs: Vec<String>,
    /// What happens to frames from others.
    #[serde(default)]
    pub action: Action,
}

/// Guards of a learning domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guards {
    /// Addresses that move to and fro between ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moves: Option<Moves>,
    /// Loops, found by probe frames that come home.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loops: Option<Loops>,
}

/// An address that moves more often than that stays where it is for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Moves {
    /// Moves allowed. Default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<u32>,
    /// Within this time. Default 10s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<Span>,
    /// For so long it then stays. Default 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold: Option<Span>,
    /// drop: what it sends from elsewhere meanwhile is dropped.
    #[serde(default)]
    pub action: Action,
}

/// Each port sends a probe now and then; one where a probe comes home is blocked for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loops {
    /// Time between probes. Default 2s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
    /// For so long the port takes and sends nothing. Default 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<Span>,
    /// drop: the port is blocked.
    #[serde(default)]
    pub action: Action,
}

/// IGMP and MLD snooping; `snooping: true` takes the times of the RFCs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snooping {
    /// Whether.
    pub on: bool,
    /// How long a report keeps a port in its group.
    pub membership: Option<Span>,
    /// How long a query proves that there is a querier.
    pub querier: Option<Span>,
}

/// The long way to say it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SnoopingTimes {
    #[serde(skip_serializing_if = "Option::is_none")]
    membership: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    querier: Option<Span>,
}

impl Serialize for Snooping {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        let Self { on, membership, querier } = *self;
        if on { SnoopingTimes { membership, querier }.serialize(sink) } else { sink.serialize_bool(false) }
    }
}

struct SnoopingWords;

impl<'de> Visitor<'de> for SnoopingWords {
    type Value = Snooping;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true, false, or { membership: 260s, querier: 255s }")
    }

    fn visit_bool<E: Error>(self, on: bool) -> Result<Snooping, E> {
        Ok(Snooping { on, membership: None, querier: None })
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Snooping, A::Error> {
        let times = SnoopingTimes::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
        Ok(Snooping { on: true, membership: times.membership, querier: times.querier })
    }
}

impl<'de> Deserialize<'de> for Snooping {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(SnoopingWords)
    }
}

impl JsonSchema for Snooping {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Snooping".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let times = SnoopingTimes::json_schema(generator);
        json_schema!({ "anyOf": [{ "type": "boolean" }, times] })
    }
}

/// Which layer-2 control protocols may enter a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ControlProtocols {
    /// `transparent`: all but PAUSE.
    Transparent,
    /// `ieee`: none.
    Ieee,
    /// These: names (`stp`, `lacp`, `eapol`, `lldp`, `cisco`) and addresses 01:80:c2:00:00:00 to 0f.
    List(Vec<String>),
}

struct ProtocolWords;

impl<'de> Visitor<'de> for ProtocolWords {
    type Value = ControlProtocols;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("transparent, ieee, or a list such as [lacp, lldp]")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<ControlProtocols, E> {
        match text {
            "transparent" => Ok(ControlProtocols::Transparent),
            "ieee" => Ok(ControlProtocols::Ieee),
            _ => Err(E::custom(format_args!("`{text}` is none of transparent, ieee, and a list such as [lacp, lldp]"))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<ControlProtocols, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element()? {
            names.push(name);
        }
        Ok(ControlProtocols::List(names))
    }
}

impl<'de> Deserialize<'de> for ControlProtocols {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(ProtocolWords)
    }
}

impl Serialize for ControlProtocols {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Transparent => sink.serialize_str("transparent"),
            Self::Ieee => sink.serialize_str("ieee"),
            Self::List(names) => names.serialize(sink),
        }
    }
}

impl JsonSchema for ControlProtocols {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ControlProtocols".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "enum": ["transparent", "ieee"] },
            { "type": "array", "items": { "type": "string" } }
        ] })
    }
}

/// Copies of what passes some ports or VLANs, to one port.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// The port copies go to; it gets nothing else, and what it sends is dropped.
    pub to: String,
    /// Ports of which both directions are copied.
    #[serde(default)]
    pub ports: Vec<String>,
    /// Ports of which what comes in is copied.
    #[serde(default)]
    pub rx: Vec<String>,
    /// Ports of which what leaves is copied.
    #[serde(default)]
    pub tx: Vec<String>,
    /// VLANs by domain, of which what comes in is copied.
    #[serde(default)]
    pub vlans: Named<Vec<VidRange>>,
}
