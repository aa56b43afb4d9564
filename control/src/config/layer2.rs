//! Layer 2 features as written in the file: macvlan modes, flooding, control protocols, guards, snooping, mirrors.

use super::vlan::VidRange;
use crate::list::List;
use crate::named::Named;
use crate::units::Span;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::json;
use std::borrow::Cow;
use std::fmt;

/// How a port of a macvlan domain treats its neighbours; as the modes of the kernel's macvlan devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Macvlan {
    /// Talks to the uplink only. Its own broadcasts, sent back by the uplink, reach no other port.
    Private,
    /// Talks to the uplink. A switch there that sends frames back (reflective relay) connects the ports.
    Vepa,
    /// Talks to other bridge ports directly, to all others by the uplink.
    Bridge,
    /// The only port of its domain; it receives every frame from the uplink, whatever the address.
    Passthru,
    /// Receives the frames of the stations in `sources`, whatever their destination.
    Source,
}

/// Which kinds of flooded frames leave by a port. All do unless switched off.
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

/// Storm control: flooded frames per second that a port may send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Storm {
    /// Broadcast frames per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1000)]
    pub broadcast: Option<u32>,
    /// Multicast frames per second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1000)]
    pub multicast: Option<u32>,
    /// Frames per second to unknown unicast addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 1000)]
    pub unknown_unicast: Option<u32>,
    /// Frames at once. Default: as many as in a second.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 2000)]
    pub burst: Option<u32>,
    /// What happens to the frames beyond the limit.
    #[serde(default)]
    pub action: Action,
}

/// Source addresses that a port accepts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PortSecurity {
    /// The source addresses allowed. Default: the port's own `mac`.
    #[serde(default, skip_serializing_if = "List::is_empty")]
    #[schemars(example = ["02:00:00:00:00:01"])]
    pub macs: List<String>,
    /// What happens to frames from others.
    #[serde(default)]
    pub action: Action,
}

/// Guards of a learning domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Guards {
    /// MAC flapping: addresses that keep moving between ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = json!({ "allowed": 5 }))]
    pub moves: Option<Moves>,
    /// Loops, found by probe frames that come back.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = json!({ "interval": "2s" }))]
    pub loops: Option<Loops>,
}

/// An address that moves too often is held at its port for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Moves {
    /// Moves allowed. Default 5.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = 5)]
    pub allowed: Option<u32>,
    /// Within this time. Default 10s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"10s")]
    pub within: Option<Span>,
    /// How long it is held. Default 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"60s")]
    pub hold: Option<Span>,
    /// drop: frames it sends from other ports meanwhile are dropped.
    #[serde(default)]
    pub action: Action,
}

/// Each port sends probes; a port that receives a probe of this switch is blocked for a while.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Loops {
    /// Time between probes. Default 2s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"2s")]
    pub interval: Option<Span>,
    /// How long the port is blocked. Default 60s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"60s")]
    pub block: Option<Span>,
    /// drop: the port is blocked.
    #[serde(default)]
    pub action: Action,
}

/// IGMP and MLD snooping. `snooping: true` uses the times of the RFCs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Snooping {
    /// Whether it is on.
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
    #[schemars(example = &"260s")]
    membership: Option<Span>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = &"255s")]
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
        json_schema!({ "title": "true, false, or times", "anyOf": [{ "type": "boolean" }, times] })
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
            name => Ok(ControlProtocols::List(vec![name.to_owned()])),
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
        json_schema!({ "title": "transparent, ieee, or a list of protocols", "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string", "examples": ["lacp"] } }
        ] })
    }
}

/// A mirror: frames of some ports or VLANs, copied to one port.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = json!({ "to": "tap9", "ports": ["h1"] }))]
pub struct Mirror {
    /// The port that receives the copies. It receives nothing else, and frames it sends are dropped.
    #[schemars(example = &"tap9")]
    pub to: String,
    /// Ports whose frames are copied in both directions.
    #[serde(default)]
    #[schemars(example = ["h1"])]
    pub ports: List<String>,
    /// Ports whose received frames are copied.
    #[serde(default)]
    #[schemars(example = ["h1"])]
    pub rx: List<String>,
    /// Ports whose sent frames are copied.
    #[serde(default)]
    #[schemars(example = ["h1"])]
    pub tx: List<String>,
    /// VLANs by domain, whose received frames are copied.
    #[serde(default)]
    #[schemars(example = json!({ "lan": [10] }))]
    pub vlans: Named<List<VidRange>>,
}
