//! Where everything in a document stands, and what stands there, by path: `ports.p2.mtu`.

use crate::problem::SourceLocation;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::collections::BTreeMap;
use std::fmt;

/// A key and its value; an item of a list has no key.
#[derive(Clone, Debug, Default)]
struct Place {
    key: SourceLocation,
    value: SourceLocation,
    /// The value in words.
    found: String,
}

/// The places of a document.
#[derive(Clone, Debug, Default)]
pub struct Places(BTreeMap<String, Place>);

impl Places {
    /// Those of `text`, which was read into `tree`.
    pub(super) fn of(text: &str, tree: &Spanned<Tree>) -> Self {
        let mut places = Self::default();
        places.insert(text, "", SourceLocation::default(), tree);
        places
    }

    /// Whether the document could not be read that far.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value at `path`, else the nearest enclosing one that exists (for a key that is missing).
    #[must_use]
    pub fn value(&self, path: &str) -> SourceLocation {
        let mut path = path;
        loop {
            if let Some(place) = self.0.get(path) {
                return place.value;
            }
            match path.rfind('.') {
                Some(dot) => path = &path[..dot],
                None => return SourceLocation::default(),
            }
        }
    }

    /// The key that ends `path`, else the nearest enclosing value.
    #[must_use]
    pub fn key(&self, path: &str) -> SourceLocation {
        let key = self.0.get(path).map(|place| place.key).filter(|key| *key != SourceLocation::default());
        key.unwrap_or_else(|| self.value(path))
    }

    /// What stands at `path`: `` `10` ``, "a list".
    pub(super) fn found(&self, path: &str) -> &str {
        self.0.get(path).map_or("nothing", |place| place.found.as_str())
    }

    /// The path of the value that stands at `place`. A mapping begins where its first key does, but no value does.
    pub(super) fn of_value(&self, place: SourceLocation) -> Option<&str> {
        self.0.iter().find(|(_, it)| it.value == place).map(|(path, _)| path.as_str())
    }

    /// The path of the value that stands at `place`, or that begins last before it: some errors are found at its end.
    pub(super) fn nearest(&self, place: SourceLocation) -> &str {
        let before = self.0.iter().filter(|(_, it)| it.value <= place);
        before.max_by_key(|(_, it)| it.value).map_or("", |(path, _)| path.as_str())
    }

    /// The path of the key that stands at `place`.
    pub(super) fn of_key(&self, place: SourceLocation) -> Option<&str> {
        self.0
            .iter()
            .find(|(_, it)| it.key == place && place != SourceLocation::default())
            .map(|(path, _)| path.as_str())
    }

    /// The path of the mapping whose first key stands at `place`, or that begins there.
    pub(super) fn parent(&self, place: SourceLocation) -> &str {
        match self.of_key(place) {
            Some(path) => path.rfind('.').map_or("", |dot| &path[..dot]),
            None => self.of_value(place).unwrap_or_default(),
        }
    }

    fn insert(&mut self, text: &str, path: &str, key: SourceLocation, value: &Spanned<Tree>) {
        let found = found(text, value);
        self.0.insert(path.to_owned(), Place { key, value: place(value.referenced), found });
        match &value.value {
            Tree::Map(entries) => {
                for (key, value) in entries {
                    self.insert(text, &join(path, &key.value), place(key.referenced), value);
                }
            }
            Tree::Seq(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.insert(text, &join(path, &i.to_string()), SourceLocation::default(), item);
                }
            }
            Tree::Leaf => {}
        }
    }
}

/// The path of `key` in the mapping at `path`.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

pub(super) fn place(at: Location) -> SourceLocation {
    SourceLocation { line: at.line(), column: at.column() }
}

/// Longest value that a message repeats.
const REPEATED: usize = 40;

fn found(text: &str, value: &Spanned<Tree>) -> String {
    match &value.value {
        Tree::Map(_) => "`{ … }`".to_owned(),
        Tree::Seq(_) => "a list".to_owned(),
        Tree::Leaf => {
            let raw = raw(text, value.referenced).unwrap_or_default();
            let short: String = raw.chars().take(REPEATED).collect();
            let cut = if short.len() < raw.len() { "…" } else { "" };
            if raw.is_empty() { "nothing".to_owned() } else { format!("`{short}{cut}`") }
        }
    }
}

/// A scalar as it is written, without quotes around it.
fn raw(text: &str, at: Location) -> Option<&str> {
    let (start, len) = (at.span().byte_offset()?, at.span().byte_len()?);
    let start = usize::try_from(start).ok()?;
    let raw = text.get(start..start + usize::try_from(len).ok()?)?.trim();
    let bare = ['"', '\''].iter().find_map(|quote| raw.strip_prefix(*quote)?.strip_suffix(*quote));
    Some(bare.unwrap_or(raw))
}

/// A document reduced to its shape.
#[derive(Debug)]
pub(super) enum Tree {
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
    Seq(Vec<Spanned<Tree>>),
    Leaf,
}

struct AnyNode;

macro_rules! leaves {
    ($($method:ident: $type:ty),*) => {$(
        fn $method<E>(self, _: $type) -> Result<Tree, E> {
            Ok(Tree::Leaf)
        }
    )*};
}

impl<'de> Visitor<'de> for AnyNode {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("YAML")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Tree::Seq(items))
    }

    leaves!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        source.deserialize_any(AnyNode)
    }
}
