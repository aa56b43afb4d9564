//! From text to [`Config`], with the place of every key and value.
//!
//! The text is read twice: once into a tree that only remembers places (`ports.p2.mtu` → line and column), once into the
//! configuration types. So the types stay free of positions and serve the JSON API too, and every later mistake
//! finds its line by its path.

use crate::config::Config;
use crate::problem::{Problem, Problems, SourceLocation, meant};
use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};
use std::collections::BTreeMap;
use std::fmt;
use std::io::Read;

/// Larger files are refused unread; a lab of 1024 ports is about 100 KiB.
pub const MAX_BYTES: u64 = 4 << 20;

/// Where every path of a document stands: its key, and its value.
#[derive(Clone, Debug, Default)]
pub struct Places(BTreeMap<String, (SourceLocation, SourceLocation)>);

impl Places {
    /// The value at `path`, else the nearest enclosing one that exists (for a key that is missing).
    #[must_use]
    pub fn value(&self, path: &str) -> SourceLocation {
        let mut path = path;
        loop {
            if let Some((_, value)) = self.0.get(path) {
                return *value;
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
        self.0.get(path).map_or_else(|| self.value(path), |(key, _)| *key)
    }

    /// The path of what stands at `place`, be it key or value; the innermost if a mapping begins there.
    fn path_at(&self, place: SourceLocation) -> String {
        let here = |(key, value): &(SourceLocation, SourceLocation)| *key == place || *value == place;
        let found = self.0.iter().filter(|(_, places)| here(places)).map(|(path, _)| path);
        found.max_by_key(|path| path.len()).cloned().unwrap_or_default()
    }

    /// The path of the mapping whose first key stands at `place`, or that begins there.
    fn parent_at(&self, place: SourceLocation) -> String {
        match self.0.iter().find(|(_, (key, _))| *key == place) {
            Some((path, _)) => path.rfind('.').map(|dot| path[..dot].to_owned()).unwrap_or_default(),
            None => self.path_at(place),
        }
    }

    fn fill(&mut self, path: &str, tree: &Tree) {
        match tree {
            Tree::Map(entries) => {
                for (key, value) in entries {
                    self.insert(&join(path, &key.value), place(key.referenced), value);
                }
            }
            Tree::Seq(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.insert(&join(path, &i.to_string()), place(item.referenced), item);
                }
            }
            Tree::Leaf => {}
        }
    }

    fn insert(&mut self, path: &str, key: SourceLocation, value: &Spanned<Tree>) {
        self.0.insert(path.to_owned(), (key, place(value.referenced)));
        self.fill(path, &value.value);
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn place(at: Location) -> SourceLocation {
    SourceLocation { line: at.line(), column: at.column() }
}

/// A document reduced to its shape.
#[derive(Debug)]
enum Tree {
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

/// A configuration with the places of its parts.
#[derive(Clone, Debug)]
pub struct Document<T = Config> {
    /// The file's name as the user gave it.
    pub file: String,
    /// What was read.
    pub config: T,
    /// Where everything stands.
    pub places: Places,
}

/// Reads a file.
pub fn load(file: &str) -> Result<Document, Problems> {
    parse(file, &read(file)?)
}

/// The name of the switch a file describes, whatever else is wrong with it.
pub fn name_of(file: &str) -> Result<String, Problems> {
    #[derive(serde::Deserialize)]
    struct Name {
        name: String,
    }
    parse(file, &read(file)?).map(|document: Document<Name>| document.config.name)
}

fn read(file: &str) -> Result<String, Problems> {
    let refused = |what: String, remedy: &str| Problems::one(file, Problem::new("", what, remedy));
    let unreadable = |e: std::io::Error| refused(format!("cannot be read: {e}"), "name an existing YAML file");
    let mut text = String::new();
    // bounded: it may be a device or a pipe that never ends
    let source = std::fs::File::open(file).map_err(unreadable)?;
    let read = source.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(unreadable)?;
    if read as u64 > MAX_BYTES {
        return Err(refused(format!("more than {MAX_BYTES} bytes"), "keep it under that"));
    }
    Ok(text)
}

/// Reads a text.
pub fn parse<T: DeserializeOwned>(file: &str, text: &str) -> Result<Document<T>, Problems> {
    let mut places = Places::default();
    let tree: Spanned<Tree> = serde_saphyr::from_str(text).map_err(|e| Problems::one(file, problem(&e, &places)))?;
    places.fill("", &tree.value);
    let config = serde_saphyr::from_str(text).map_err(|e| Problems::one(file, problem(&e, &places)))?;
    Ok(Document { file: file.to_owned(), config, places })
}

/// Puts the parser's words into ours.
fn problem(error: &serde_saphyr::Error, places: &Places) -> Problem {
    let at = error.location().map(place).unwrap_or_default();
    let text = error.without_snippet().to_string();
    let text = text.strip_suffix(&format!(" at line {}, column {}", at.line, at.column)).unwrap_or(&text);
    let (what, remedy) = reword(text);
    let path = match text.strip_prefix("missing field `") {
        Some(field) => join(&places.parent_at(at), field.trim_end_matches('`')),
        None => places.path_at(at),
    };
    Problem { place: at, path, what, remedy }
}

fn reword(text: &str) -> (String, String) {
    if let Some(key) = text.strip_prefix("duplicate mapping key: ") {
        let key = key.split(',').next().unwrap_or(key);
        return (format!("the key `{key}` is here twice"), "keep one of them".to_owned());
    }
    for (prefix, noun) in [("unknown field `", "key"), ("unknown variant `", "value")] {
        if let Some(rest) = text.strip_prefix(prefix) {
            return unknown(noun, rest);
        }
    }
    if let Some(field) = text.strip_prefix("missing field `").and_then(|t| t.strip_suffix('`')) {
        return (format!("the key `{field}` is missing"), format!("add `{field}:`"));
    }
    if let Some(what) = text.strip_prefix("invalid u").or_else(|| text.strip_prefix("invalid i")) {
        return (format!("this is not a whole number that fits here ({what} bits)"), "write a plain number".to_owned());
    }
    (text.to_owned(), String::new())
}

/// `rest` is serde's "NAME`, expected one of a, b" (with or without quotes).
fn unknown(noun: &str, rest: &str) -> (String, String) {
    let (word, expected) = rest.split_once("`, expected ").unwrap_or((rest, ""));
    let expected = expected.trim_start_matches("one of ").replace('`', "");
    let known: Vec<&str> = expected.split(", ").collect();
    let remedy = match meant(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    (format!("unknown {noun} `{word}`"), remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        match parse::<Config>("x.yaml", text) {
            Ok(document) => panic!("{:?} was accepted", document.config),
            Err(problems) => problems.to_string(),
        }
    }

    #[test]
    fn what_the_types_refuse_has_its_place_path_and_remedy() {
        let cases = [
            ("name: a\nportz: {}\n", "x.yaml:2:1: portz: unknown key `portz`; did you mean `ports`?"),
            ("name: a\nname: b\n", "x.yaml:2:1: the key `name` is here twice; keep one of them"),
            ("ports: {}\n", "x.yaml:1:1: name: the key `name` is missing; add `name:`"),
            (
                "name: a\nports:\n  h1: { mtu: 3 }\n",
                "x.yaml:3:9: ports.h1.kind: the key `kind` is missing; add `kind:`",
            ),
            (
                "name: a\nports:\n  h1:\n    mtu: 3\n",
                "x.yaml:4:5: ports.h1.kind: the key `kind` is missing; add `kind:`",
            ),
            (
                "name: a\nports:\n  h1: { kind: tapp }\n",
                "x.yaml:3:15: ports.h1.kind: unknown value `tapp`; did you mean `tap`?",
            ),
            (
                "name: a\nworkers: [0, x]\n",
                "x.yaml:2:14: workers.1: invalid type: string \"x\", expected a core such as 1, or { core: 1, poll: busy }",
            ),
            (
                "name: a\nports:\n  h1: { kind: tap }\n  h1: { kind: tap }\n",
                "x.yaml:4:3: the key `h1` is here twice; keep one of them",
            ),
        ];
        for (text, wanted) in cases {
            assert_eq!(fault(text), wanted, "{text}");
        }
        assert!(
            fault("name: a\ndomains: { lan: { ageing: 300 } }\n")
                .contains("x.yaml:2:27: domains.lan.ageing: `300` is not a duration")
        );
        assert!(fault("name: [a\n").starts_with("x.yaml:1:7: "));
        assert!(fault("").starts_with("x.yaml:1:1: "));
    }

    #[test]
    fn a_path_that_is_not_written_stands_at_the_nearest_one_that_is() {
        let document: Document = parse("x", "name: a\nports:\n  h1: { kind: tap }\n").unwrap();
        assert_eq!(document.places.value("ports.h1.kind"), SourceLocation { line: 3, column: 15 });
        assert_eq!(document.places.value("ports.h1.mtu"), document.places.value("ports.h1"));
        assert_eq!(document.places.key("ports.h1"), SourceLocation { line: 3, column: 3 });
    }
}
