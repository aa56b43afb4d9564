//! VLANs as written: `{ access: 10 }`, `{ trunk: [10, 20-29], native: 1 }`, `{ tunnel: 100 }`, `{ map: { 10: 110 } }`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// VLANs of a port; one of `access`, `trunk`, `tunnel` and `map`.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Vlan {
    /// In this one VLAN, without tags outside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access: Option<u16>,
    /// In these VLANs, with tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trunk: Option<Vec<VidRange>>,
    /// Of a trunk: the VLAN whose frames have no tag; one of its list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub native: Option<u16>,
    /// Customer side of a provider bridge (QinQ): whatever tags a frame has, it travels inside of this VLAN (802.1ad).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<u16>,
    /// A trunk whose VLANs have other numbers outside: outside to inside.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<BTreeMap<u16, u16>>,
    /// Priority (0 to 7) of every frame that comes in here. Default: the one it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pcp: Option<u8>,
    /// The tag that counts. Default: 802.1Q; with `tunnel` 802.1ad.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// Which tag counts; one of the other kind is data.
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
            || E::custom(format_args!("`{text}` is no VLAN: write a number such as 10, or a range such as 20-29"));
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
        json_schema!({ "type": ["integer", "string"], "minimum": 1, "maximum": 4094, "pattern": "^[0-9]+ *(- *[0-9]+)?$" })
    }
}
