//! What a key takes, from the JSON Schema: in words, and as an example to write.

use schemars::Schema;
use serde_json::{Map, Value};

/// The part of a schema that describes one value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    root: &'a Value,
    node: &'a Value,
}

impl<'a> Wanted<'a> {
    /// What stands at `path` in a document of this schema; `None` where it knows nothing.
    pub(super) fn at(schema: &'a Schema, path: &str) -> Option<Self> {
        let root = Self { root: schema.as_value(), node: schema.as_value() };
        let path: Vec<&str> = path.split('.').filter(|part| !part.is_empty()).collect();
        root.descend(&path)
    }

    /// Names may have dots in them: `ports.p.1.mtu`.
    fn descend(self, path: &[&str]) -> Option<Self> {
        let Some(first) = path.first() else { return Some(self) };
        self.kinds().into_iter().find_map(|kind| {
            let within = |node| Self { node, ..self };
            if let Some(known) = kind.node.get("properties").and_then(|known| known.get(*first)) {
                return within(known).descend(&path[1..]);
            }
            if let Some(items) = kind.node.get("items").filter(|_| first.parse::<usize>().is_ok()) {
                return within(items).descend(&path[1..]);
            }
            let any = kind.any_name()?;
            (1..=path.len()).find_map(|parts| within(any).descend(&path[parts..]))
        })
    }

    /// What every key of a mapping of names takes.
    fn any_name(self) -> Option<&'a Value> {
        let by_pattern = || self.node.get("patternProperties")?.as_object()?.values().next();
        self.node.get("additionalProperties").filter(|any| any.is_object()).or_else(by_pattern)
    }

    /// The kinds of value it may be, references followed, null left out: that is what is not written.
    fn kinds(self) -> Vec<Self> {
        if let Some(name) = self.node.get("$ref").and_then(Value::as_str) {
            let found = self.root.pointer(name.trim_start_matches('#'));
            return found.map(|node| Self { node, ..self }.kinds()).unwrap_or_default();
        }
        let any = ["anyOf", "oneOf"].iter().find_map(|key| self.node.get(key)?.as_array());
        match any {
            Some(any) => any.iter().flat_map(|node| Self { node, ..self }.kinds()).collect(),
            None if self.node.get("type").is_some_and(|kind| kind == "null") => Vec::new(),
            None => vec![self],
        }
    }

    /// In words: "a list or a text".
    pub(super) fn words(self) -> String {
        if let Some(title) = self.title() {
            return title.to_owned();
        }
        let kinds = self.kinds();
        let words: Vec<&str> = kinds.iter().flat_map(|kind| kind.choices()).collect();
        if !words.is_empty() {
            return format!("one of {}", words.join(", "));
        }
        let word = |kind: &Self| kind.title().map_or_else(|| kind.word(), str::to_owned);
        let mut words: Vec<String> = kinds.iter().map(word).collect();
        words.dedup();
        words.join(" or ")
    }

    /// What it is called. The title of a whole document is its name, and says nothing here.
    fn title(self) -> Option<&'a str> {
        self.lookup("title").filter(|_| !std::ptr::eq(self.node, self.root))?.as_str()
    }

    /// What the node stands for, if that is one other: a reference, or one kind and null.
    fn behind(self) -> Option<Self> {
        let within = |node| Self { node, ..self };
        if let Some(name) = self.node.get("$ref").and_then(Value::as_str) {
            return self.root.pointer(name.trim_start_matches('#')).map(within);
        }
        let is_null = |node: &&Value| node.get("type").is_some_and(|kind| kind == "null");
        let any = self.node.get("anyOf")?.as_array()?;
        match any.iter().filter(|node| !is_null(node)).collect::<Vec<_>>().as_slice() {
            [only] => Some(within(only)),
            _ => None,
        }
    }

    /// A key of the node itself, or of what it stands for.
    fn lookup(self, key: &str) -> Option<&'a Value> {
        self.node.get(key).or_else(|| self.behind()?.lookup(key))
    }

    /// The words it can be.
    fn choices(self) -> Vec<&'a str> {
        let several = self.node.get("enum").and_then(Value::as_array);
        let all =
            several.map_or_else(|| self.node.get("const").into_iter().collect(), |all| all.iter().collect::<Vec<_>>());
        all.into_iter().filter_map(Value::as_str).collect()
    }

    fn word(self) -> String {
        let number = |key: &str| self.node.get(key).and_then(Value::as_u64);
        match self.type_name() {
            "integer" => match (number("minimum"), number("maximum")) {
                (Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
                _ => "a whole number".to_owned(),
            },
            "boolean" => "true or false".to_owned(),
            "array" => "a list".to_owned(),
            "object" => "keys and values".to_owned(),
            _ => "a text".to_owned(),
        }
    }

    fn type_name(self) -> &'a str {
        match self.node.get("type") {
            Some(Value::String(name)) => name,
            Some(Value::Array(names)) => {
                names.iter().filter_map(Value::as_str).find(|name| *name != "null").unwrap_or("")
            }
            _ => "",
        }
    }

    /// Something that may stand here.
    pub(super) fn example(self) -> Value {
        if let Some(example) = self.lookup("examples").and_then(|all| all.get(0)) {
            return example.clone();
        }
        let kinds = self.kinds();
        let Some(first) = kinds.first() else { return Value::Null };
        if let Some(word) = first.choices().first() {
            return (*word).into();
        }
        match first.type_name() {
            "integer" => self.lookup("minimum").and_then(Value::as_u64).unwrap_or(0).max(1).into(),
            "boolean" => true.into(),
            "array" => {
                let item = first.node.get("items").map(|node| Self { node, ..self }.example());
                Value::Array(item.into_iter().collect())
            }
            "object" => Value::Object(first.required()),
            _ => "NAME".into(),
        }
    }

    /// The keys that must be there; of a mapping of names one.
    fn required(self) -> Map<String, Value> {
        if let Some(node) = self.any_name() {
            return Map::from_iter([("NAME".to_owned(), Self { node, ..self }.example())]);
        }
        let keys = self.node.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let known = |key: &str| Some(Self { node: self.node.get("properties")?.get(key)?, ..self });
        keys.filter_map(|key| Some((key.to_owned(), known(key)?.example()))).collect()
    }
}

/// A value as people write it on one line of YAML.
pub(super) fn yaml(value: &Value) -> String {
    let list = |items: Vec<String>, open: &str, close: &str| match items.as_slice() {
        [] => format!("{}{}", open.trim(), close.trim()),
        items => format!("{open}{}{close}", items.join(", ")),
    };
    match value {
        Value::String(text) if is_plain(text) => text.clone(),
        Value::Array(items) => list(items.iter().map(yaml).collect(), "[", "]"),
        Value::Object(map) => {
            list(map.iter().map(|(key, value)| format!("{key}: {}", yaml(value))).collect(), "{ ", " }")
        }
        other => other.to_string(),
    }
}

/// Whether a text needs no quotes: it begins like a word or has a unit or a length behind its number.
fn is_plain(text: &str) -> bool {
    let ordinary = |c: char| c.is_ascii_alphanumeric() || "_-./…".contains(c);
    !text.is_empty()
        && text.chars().all(ordinary)
        && text.parse::<f64>().is_err()
        && !["true", "false", "null"].contains(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use serde_json::json;

    fn wanted(path: &str) -> (String, String) {
        let schema = schemars::schema_for!(Config);
        let wanted = Wanted::at(&schema, path).unwrap_or_else(|| panic!("{path}"));
        (wanted.words(), yaml(&wanted.example()))
    }

    #[test]
    fn the_schema_says_what_a_key_takes() {
        for (path, words, example) in [
            ("ports.a.fdb_limit", "a whole number", "1000"),
            ("ports.a.ip", "a list or a text", "[10.0.0.1/24]"),
            ("mirrors.m.vlans.lan", "a list or a VLAN or a range of them", "[10]"),
            ("ports.a.vlan", "keys and values", "{ access: 10 }"),
            ("ports.a.b.c.vlan.access", "a whole number from 1 to 4094", "10"),
            ("ports.a.isolated", "true or false", "true"),
            ("ports.a.macvlan", "one of private, vepa, bridge, passthru, source", "private"),
            ("domains.lan.ageing", "a time with its unit", "300s"),
        ] {
            assert_eq!(wanted(path), (words.to_owned(), example.to_owned()), "{path}");
        }
    }

    #[test]
    fn a_value_is_written_as_people_do() {
        assert_eq!(
            yaml(&json!({ "mac": "02:00:00:00:00:01", "ip": ["10.0.0.1/24"], "n": {} })),
            "{ ip: [10.0.0.1/24], mac: \"02:00:00:00:00:01\", n: {} }"
        );
        assert_eq!(
            yaml(&json!(["true", "10", "802.1Q", "vhost-user", true, 10])),
            "[\"true\", \"10\", 802.1Q, vhost-user, true, 10]"
        );
    }
}
