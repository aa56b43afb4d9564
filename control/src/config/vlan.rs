//! VLANs as written: `{ access: 10 }`, `{ trunk: [10, 20-29], native: 1 }`, `{ tunnel: 100 }`, `{ map: { 10: 110 } }`.

use crate::list::List;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};
use serde_json::json;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// VLANs of a port; one of `access`, `trunk`, `tunnel` and `map`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(example = json!({ "access": 10 }))]
pub struct Vlan {
    /// One VLAN, without tags on the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4094), example = 10)]
    pub access: Option<u16>,
    /// These VLANs, with tags on the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = json!([10, "20-29"]))]
    pub trunk: Option<List<VidRange>>,
    /// Of a trunk: its VLAN whose frames have no tag on the port.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4094), example = 10)]
    pub native: Option<u16>,
    /// Customer port of a provider bridge (QinQ): frames, tagged or not, travel inside this VLAN (802.1ad).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 4094), example = 100)]
    pub tunnel: Option<u16>,
    /// A trunk with VLAN translation: the number on the port to the number in the switch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(example = json!({ "10": 110 }))]
    pub map: Option<BTreeMap<u16, u16>>,
    /// Priority (0 to 7) given to every frame that comes in here. Default: the frame's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 7), example = 5)]
    pub pcp: Option<u8>,
    /// The type of tag the port uses. Default: 802.1Q; with `tunnel` 802.1ad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// The type of tag a port uses; a tag of the other type is data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, Serialize, JsonSchema)]
pub enum Protocol {
    /// Customers' tags, EtherType 0x8100.
    #[serde(rename = "802.1Q")]
    Dot1q,
    /// Providers' tags, EtherType 0x88a8.
    #[serde(rename = "802.1ad")]
    Dot1ad,
}

/// A VLAN, or several with numbers in a row: `10`, `20-29`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VidRange {
    /// The first.
    pub first: u16,
    /// The last; the same for one VLAN.
    pub last: u16,
}

impl VidRange {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        Some(Self { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? })
    }
}

impl fmt::Display for VidRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

struct RangeText;

impl Visitor<'_> for RangeText {
    type Value = VidRange;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a VLAN such as 10, or a range such as 20-29")
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<VidRange, E> {
        self.visit_str(&n.to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<VidRange, E> {
        let wrong =
            || E::custom(format_args!("`{text}` is no VLAN; write a number such as 10, or a range such as 20-29"));
        VidRange::parse(text).ok_or_else(wrong)
    }
}

impl<'de> Deserialize<'de> for VidRange {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(RangeText)
    }
}

impl Serialize for VidRange {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        if self.first == self.last { sink.serialize_u16(self.first) } else { sink.collect_str(self) }
    }
}

impl JsonSchema for VidRange {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "VidRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "a VLAN or a range of them", "examples": [10], "type": ["integer", "string"], "minimum": 1, "maximum": 4094, "pattern": "^[0-9]+ *(- *[0-9]+)?$" })
    }
}
