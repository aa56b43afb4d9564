//! Values with units as people write them: `300s`, `5m`, `64k`, `1G`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// A length of time: `500ms`, `300s`, `5m`, `2h`. A bare number other than 0 is refused: nobody knows its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A count or a size: `16384`, `64k`, `2M`, `1G` (powers of 1024).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub u64);

/// Number in front, unit behind.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (&text[..end], text[end..].trim())
}

impl Span {
    /// Reads `300s` and the like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text.trim());
        let wrong =
            || format!("`{text}` is not a duration; write a whole number and a unit, such as 500ms, 300s, 5m or 2h");
        let n: u64 = number.parse().map_err(|_| wrong())?;
        let millis = match unit {
            "ms" => Some(n),
            "s" => n.checked_mul(1000),
            "m" => n.checked_mul(60_000),
            "h" => n.checked_mul(3_600_000),
            "" if n == 0 => Some(0),
            _ => return Err(wrong()),
        };
        millis.map(|ms| Self(Duration::from_millis(ms))).ok_or_else(wrong)
    }
}

impl Size {
    /// Reads `64k` and the like.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (number, unit) = split(text.trim());
        let wrong = || format!("`{text}` is not a size; write a whole number, with k, M or G behind it if you like");
        let n: u64 = number.parse().map_err(|_| wrong())?;
        let shift = match unit {
            "" => 0,
            "k" | "K" | "Ki" => 10,
            "m" | "M" | "Mi" => 20,
            "g" | "G" | "Gi" => 30,
            _ => return Err(wrong()),
        };
        n.checked_mul(1 << shift).map(Self).ok_or_else(wrong)
    }
}

struct SpanText;

impl Visitor<'_> for SpanText {
    type Value = Span;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration such as 300s")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Span, E> {
        Span::parse(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Span, E> {
        Span::parse(&n.to_string()).map_err(E::custom)
    }
}

struct SizeText;

impl Visitor<'_> for SizeText {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number such as 16384 or 64k")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
        Size::parse(text).map_err(E::custom)
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Size, E> {
        Ok(Size(n))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(SpanText)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(SizeText)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        sink.collect_str(&format_args!("{}ms", self.0.as_millis()))
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, sink: S) -> Result<S::Ok, S::Error> {
        sink.serialize_u64(self.0)
    }
}

impl JsonSchema for Span {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Span".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "a time with its unit", "examples": ["300s"], "type": ["string", "integer"], "pattern": "^[0-9]+ *(ms|s|m|h)$|^0$", "maximum": 0 })
    }
}

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "title": "a size such as 64k", "examples": ["64k"], "type": ["integer", "string"], "minimum": 0, "pattern": "^[0-9]+ *([kK]i?|[mM]i?|[gG]i?)?$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(Span::parse("300s").unwrap().0, Duration::from_secs(300));
        assert_eq!(Span::parse("5 m").unwrap().0, Duration::from_secs(300));
        assert_eq!(Span::parse("250ms").unwrap().0, Duration::from_millis(250));
        assert_eq!(Span::parse("0").unwrap().0, Duration::ZERO);
        for bad in ["300", "", "s", "-1s", "1.5s", "3 weeks", "99999999999999999999s", "18446744073709551615h"] {
            assert!(Span::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_take_powers_of_1024() {
        assert_eq!(Size::parse("64k").unwrap().0, 65536);
        assert_eq!(Size::parse("1G").unwrap().0, 1 << 30);
        assert_eq!(Size::parse("16384").unwrap().0, 16384);
        for bad in ["", "k", "-1", "1.5k", "10T", "99999999999999G"] {
            assert!(Size::parse(bad).is_err(), "{bad}");
        }
    }
}
