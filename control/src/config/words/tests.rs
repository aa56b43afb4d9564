//! Every key with every kind of wrong value, and every way in which a text is no YAML: refused in our words, or taken.

use super::super::Config;
use super::super::document::{Document, from_json, parse};
use super::super::wanted::yaml;
use crate::config::Port;
use schemars::schema_for;
use serde_json::{Value, json};

/// What only parsers and Rust say.
const FOREIGN: &[&str] = &[
    "expected",
    "struct",
    "enum",
    "Option<",
    "from_str",
    "u8",
    "u16",
    "u32",
    "u64",
    "i64",
    "usize",
    "sequence",
    "mapping",
    "scalar",
    "deserialize",
    "variant",
    "invalid type",
    "context",
    "unexpected",
    "document;",
    "null into",
];

/// Where keys of a part of the schema can be written: the text before them, and their indentation.
const PARTS: &[(&str, &str, &str)] = &[
    ("", "name: t\n", ""),
    ("Memory", "name: t\nmemory:\n", "  "),
    ("Domain", "name: t\ndomains:\n  d:\n", "    "),
    ("Guards", "name: t\ndomains:\n  d:\n    guards:\n", "      "),
    ("Moves", "name: t\ndomains:\n  d:\n    guards:\n      moves:\n", "        "),
    ("Loops", "name: t\ndomains:\n  d:\n    guards:\n      loops:\n", "        "),
    ("Node", "name: t\nnodes:\n  n:\n", "    "),
    ("Mirror", "name: t\nmirrors:\n  m:\n    to: x\n", "    "),
    ("Port", "name: t\nports:\n  a:\n    kind: tap\n", "    "),
    ("Vlan", "name: t\nports:\n  a:\n    kind: tap\n    vlan:\n", "      "),
    ("Storm", "name: t\nports:\n  a:\n    kind: tap\n    storm:\n", "      "),
    ("Flood", "name: t\nports:\n  a:\n    kind: tap\n    flood:\n", "      "),
    ("PortSecurity", "name: t\nports:\n  a:\n    kind: tap\n    port_security:\n", "      "),
];

const WRONG: &[&str] = &[
    "10",
    "-1",
    "1.5",
    "99999999999999999999",
    "word",
    "\"10\"",
    "yes",
    "null",
    "",
    "[]",
    "[1, 2]",
    "[[1]]",
    "[{}]",
    "{}",
    "{ x: 1 }",
    "{ 1: [2] }",
    "!tag x",
    "*gone",
    "010",
    "2001-01-01",
];

fn read(text: &str) -> Result<Document, String> {
    parse::<Config>("x.yaml", text).map_err(|problems| problems.to_string())
}

/// A file with one key and its value.
fn file((head, indent): (&str, &str), key: &str, value: &str) -> String {
    let same = format!("{indent}{key}:");
    let others = head.lines().filter(|line| !line.starts_with(&same)).map(|line| format!("{line}\n"));
    format!("{}{indent}{key}: {value}\n", others.collect::<String>())
}

/// Every key of every part, with what the schema knows of it.
fn keys() -> Vec<((&'static str, &'static str), String, Value)> {
    let schema = schema_for!(Config);
    let mut keys = Vec::new();
    for (part, head, indent) in PARTS {
        let part = if part.is_empty() { schema.as_value() } else { &schema.as_value()["$defs"][*part] };
        for (key, node) in part["properties"].as_object().expect("keys") {
            keys.push(((*head, *indent), key.clone(), node.clone()));
        }
    }
    assert!(keys.len() > 60, "only {} keys", keys.len());
    keys
}

fn ours(text: &str, said: &str) {
    for word in FOREIGN {
        let whole =
            said.split(|c: char| !c.is_ascii_alphanumeric() && !"_<; ".contains(c)).any(|part| part.contains(word));
        assert!(!whole, "`{word}` in {said:?} about\n{text}");
    }
    assert!(said.starts_with("x.yaml:") && said.contains("; "), "no place or remedy in {said:?} about\n{text}");
    assert!(!said.starts_with("x.yaml: "), "no line in {said:?} about\n{text}");
}

#[test]
fn a_wrong_value_is_refused_in_our_words_with_its_path() {
    for (place, key, _) in keys() {
        for value in WRONG {
            let text = file(place, &key, value);
            if let Err(said) = read(&text) {
                ours(&text, &said);
                let structure = ["tag", "anchor", "this is no key"].iter().any(|word| said.contains(word));
                assert!(structure || said.contains(&key), "`{key}` is not in {said:?} about\n{text}");
            }
        }
    }
}

#[test]
fn every_example_of_the_schema_can_be_written() {
    for (place, key, node) in keys() {
        for example in node["examples"].as_array().into_iter().flatten() {
            let text = file(place, &key, &yaml(example));
            assert!(read(&text).is_ok(), "{:?} of\n{text}", read(&text));
        }
    }
}

#[test]
fn what_is_no_yaml_is_refused_in_our_words() {
    for text in [
        "",
        "# nothing\n",
        "42\n",
        "- a\n",
        "word\n",
        "name: a\n: : bad [\n",
        "name: [a\n",
        "name: {a\n",
        "name: a]\n",
        "name: \"a\n",
        "name: 'a' b\n",
        "name: a\n\tports: {}\n",
        "name: a\nports:\n\ta: {}\n",
        "name: a\n  ports: {}\n",
        "name: a\nports:\n   a: {}\n  b: {}\n",
        "name: a: b\n",
        "name: @a\n",
        "name: `a`\n",
        "name: %a\n",
        "name: a\n---\nname: b\n",
        "a: *b\n",
        "name: !x a\n",
        "<<: 1\nname: a\n",
        "name: a\nname: b\n",
        "? [a]\n: b\n",
        "name: a\nports: { a: { kind: tap }\n",
        "name: a\nports: { a: { kind: tap } } }\n",
        "name:a\n",
        "name: \"\\q\"\n",
        "name: a\n- b\n",
        "{",
        "[",
        "name: |x\n",
        "name: a\nports: {a: {kind: tap,}\n  b",
    ] {
        if let Err(said) = read(text) {
            ours(text, &said);
        }
    }
    for (text, words) in [
        ("", "there is nothing in it; begin with `name: demo`"),
        ("- a\n", "this must be keys and values, here is a list; write `{ domains:"),
        ("name: a\n\tports: {}\n", "a tab stands where YAML takes blanks"),
        ("name: a\n---\nname: b\n", "a second document begins here"),
        ("name: nc6\n: : bad [\n", "; "),
        ("name: [a\n", "a bracket is not closed"),
        ("name: a: b\n", "a `key:` cannot stand here"),
        ("a: *b\n", "an anchor that is not there"),
    ] {
        let said = read(text).expect_err(text);
        assert!(said.contains(words), "{text}: {said}");
    }
    let deep = format!("name: {}1{}\n", "[".repeat(10_000), "]".repeat(10_000));
    ours("deep", &read(&deep).expect_err("deep"));
}

#[test]
fn one_item_needs_no_brackets() {
    let text = "name: t\nworkers: 1\nmirrors: { m: { to: a, rx: 7, vlans: { lan: 10-20 } } }\nports:\n  a: { kind: tap, ip: 10.0.0.1/24, vlan: { trunk: 10 }, control_protocols: lacp }\n";
    let config = read(text).unwrap_or_else(|said| panic!("{said}")).config;
    let port = config.ports.get("a").unwrap();
    assert_eq!(*port.ip, ["10.0.0.1/24"]);
    assert_eq!((config.workers.unwrap().len(), port.vlan.as_ref().unwrap().trunk.as_ref().unwrap().len()), (1, 1));
    assert_eq!(*config.mirrors.get("m").unwrap().rx, ["7"]);
    let said = read("name: t\nports:\n  a: { kind: tap, vlan: 10 }\n").unwrap_err();
    assert_eq!(
        said,
        "x.yaml:3:25: ports.a.vlan: `vlan` takes keys and values, here is `10`; write `vlan: { access: 10 }`"
    );
}

#[test]
fn habits_of_other_tools_are_understood() {
    for (key, value, words) in [
        ("type", "tap", "did you mean `kind`?"),
        ("image", "alpine", "`pid:` or `netns:`"),
        ("gateway", "10.0.0.1", "route add default via"),
        ("addresses", "[]", "did you mean `ip`?"),
        ("tag", "10", "vlan: { access: 10 }"),
        ("isolate", "true", "did you mean `isolated`?"),
    ] {
        let said = read(&file(("name: t\nports:\n  a:\n    kind: tap\n", "    "), key, value)).unwrap_err();
        assert!(said.contains(words), "{key}: {said}");
    }
    let said = read("name: t\ntopology: { nodes: {} }\n").unwrap_err();
    assert!(said.contains("stand at the top"), "{said}");
    let said = read("name: t\nports: { a: { kind: tap, vlan: {access:10} } }\n").unwrap_err();
    assert!(said.contains("`access: 10`"), "{said}");
}

#[test]
fn what_comes_by_the_api_is_refused_in_the_same_words() {
    for (port, words) in [
        (json!({ "kind": "tap", "vlan": 10 }), "ports.a.vlan: `vlan` takes keys and values, here is `10`; write"),
        (json!({ "kind": "tap", "fdb_limit": "1k" }), "ports.a.fdb_limit: `fdb_limit` takes a whole number"),
        (json!({ "kind": "tap", "vlan": { "access": "foo" } }), "a whole number from 1 to 4094, here is `foo`"),
        (json!({ "kind": "tap", "isolate": true }), "did you mean `isolated`?"),
        (json!({ "kind": "tapp" }), "did you mean `tap`?"),
        (json!([]), "ports.a: this must be keys and values, here is a list"),
    ] {
        let problem = from_json::<Port>("ports.a", &port).expect_err(words);
        assert!(problem.to_string().contains(words), "{port}: {problem}");
    }
    let name = "é \"quoted\" \u{1} \\ end";
    assert_eq!(from_json::<String>("", &json!(name)).unwrap(), name, "JSON is YAML");
}
