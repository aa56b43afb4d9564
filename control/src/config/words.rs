//! The parser's errors in the words of the file: what was found, where, and an example of what to write.
//!
//! Nothing that a parser or serde says reaches a person. What a value may be comes from the JSON Schema ([`Wanted`]), what stands
//! there from [`Places`]; the parser only says where it gave up, and why.

use super::places::{Places, join, place};
use super::wanted::{Wanted, yaml};
use crate::problem::{Problem, meant};
use schemars::Schema;
use serde_saphyr::granit_parser::ErrorKind;
use serde_saphyr::{Error, ExternalMessageSource};

/// Words for an error. `places` is empty if the text is no YAML at all.
pub(super) fn problem(error: &Error, places: &Places, schema: &Schema) -> Problem {
    let error = innermost(error);
    let at = error.location().map(place).unwrap_or_default();
    let of_key = || places.of_key(at).unwrap_or_default().to_owned();
    // a block mapping begins where its first key does: where it may stand, the fault is that key's
    let first_key = || places.of_key(at).filter(|path| Wanted::at(schema, path).is_some());
    let of_value = || first_key().unwrap_or_else(|| places.nearest(at)).to_owned();
    let (path, (what, remedy)) = match error {
        Error::SerdeUnknownField { field, expected, .. } => (of_key(), unknown_key(field, expected)),
        Error::DuplicateMappingKey { key, .. } => (String::new(), twice(key.as_deref())),
        Error::SerdeMissingField { field, .. } => {
            let path = join(places.parent(at), field);
            let example = Wanted::at(schema, &path).map(|wanted| yaml(&wanted.example())).unwrap_or_default();
            (path, (format!("the key `{field}` is missing"), format!("add `{field}: {example}`")))
        }
        Error::SerdeUnknownVariant { variant, expected, .. } => (of_value(), unknown_value(variant, expected)),
        // ours: the visitors of this crate write whole sentences
        Error::Message { msg, .. } => {
            let (what, remedy) = msg.split_once("; ").unwrap_or((msg.as_str(), ""));
            (of_value(), (what.to_owned(), remedy.to_owned()))
        }
        other => match structure(other) {
            Some(words) => (String::new(), words),
            // what is read to find places may be anything but a key that is no word
            None if places.is_empty() => (String::new(), no_key()),
            None => (of_value(), mismatch(&of_value(), places, schema)),
        },
    };
    Problem { place: at, path, what, remedy }
}

/// The error itself, without the text around it; of an alias what is wrong with its value.
fn innermost(error: &Error) -> &Error {
    match error {
        Error::WithSnippet { error, .. } | Error::AliasError { error, .. } => innermost(error),
        other => other,
    }
}

/// A value of another kind than the key takes.
fn mismatch(path: &str, places: &Places, schema: &Schema) -> (String, String) {
    let found = places.found(path);
    let Some(wanted) = Wanted::at(schema, path) else {
        return (format!("{found} cannot stand here"), "see the examples in the documentation".to_owned());
    };
    let (words, example) = (wanted.words(), yaml(&wanted.example()));
    match path.rsplit_once('.') {
        Some((list, item)) if item.parse::<usize>().is_ok() => {
            let key = list.rsplit('.').next().unwrap_or(list);
            let list = Wanted::at(schema, list).map(|list| yaml(&list.example())).unwrap_or(example);
            (format!("an item of `{key}` is {words}, here is {found}"), format!("write `{key}: {list}`"))
        }
        _ if path.is_empty() => (format!("this must be {words}, here is {found}"), format!("write `{example}`")),
        _ => {
            let key = path.rsplit('.').next().unwrap_or(path);
            (format!("`{key}` takes {words}, here is {found}"), format!("write `{key}: {example}`"))
        }
    }
}

fn no_key() -> (String, String) {
    ("this is no key: a word is missing in front of the colon".to_owned(), "write `key: value`".to_owned())
}

fn twice(key: Option<&str>) -> (String, String) {
    (format!("the key `{}` is here twice", key.unwrap_or_default()), "keep one of them".to_owned())
}

fn unknown_value(word: &str, known: &[&str]) -> (String, String) {
    (format!("unknown value `{word}`"), choose(word, known))
}

fn unknown_key(key: &str, known: &[&str]) -> (String, String) {
    let what = format!("unknown key `{key}`");
    if let Some((name, value)) = key.split_once(':') {
        return (what, format!("put a blank after the colon: `{name}: {value}`"));
    }
    let said = |(words, needs, _): &&Habit| words.contains(&key) && known.contains(needs);
    let habit = HABITS.iter().find(said).map(|(_, _, remedy)| (*remedy).to_owned());
    (what, habit.unwrap_or_else(|| choose(key, known)))
}

fn choose(word: &str, known: &[&str]) -> String {
    match meant(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// Words of other tools, a key that must be known where they stand, and what to write instead.
type Habit = (&'static [&'static str], &'static str, &'static str);

const NO_CONTAINERS: &str = "a node is a network namespace, or a machine with `kind: qemu`; a container that runs joins by `pid:` or `netns:` of its port";
const NO_ROUTES: &str = "routes are yours to set: `ip -n NODE route add default via ADDRESS` once the lab is up";
const HABITS: &[Habit] = &[
    (&["type", "driver"], "kind", "did you mean `kind`?"),
    (
        &["topology", "links", "mgmt", "prefix"],
        "domains",
        "`nodes`, `domains` and `ports` stand at the top; a port joins a node to a domain",
    ),
    (
        &["image", "binds", "exec", "cmd", "env", "startup-config", "license", "group", "labels"],
        "kernel",
        NO_CONTAINERS,
    ),
    (&["image", "container"], "netns", NO_CONTAINERS),
    (&["gateway", "gateway4", "gateway6", "gw", "routes", "route", "default_gateway"], "netns", NO_ROUTES),
    (&["gateway", "gateway4", "gateway6", "gw", "routes", "route", "default_gateway"], "kernel", NO_ROUTES),
    (&["tag", "vid", "access", "vlan_id", "pvid"], "vlan", "write `vlan: { access: 10 }`"),
    (&["trunk", "trunks", "vlans", "tagged"], "vlan", "write `vlan: { trunk: [10, 20-29] }`"),
    (
        &["interface", "iface", "device", "name", "dev_name"],
        "ifname",
        "did you mean `ifname` (tap, veth) or `dev` (af_xdp)?",
    ),
    (&["bridge", "network", "switch", "segment"], "domain", "did you mean `domain`?"),
    (&["address", "addresses", "ipv4", "ipv6", "ips"], "ip", "did you mean `ip`?"),
    (&["hwaddr", "mac_address", "macaddr", "address"], "mac", "did you mean `mac`?"),
    (&["namespace", "ns"], "netns", "did you mean `netns`?"),
];

/// What is no YAML, or YAML that is no configuration.
fn structure(error: &Error) -> Option<(String, String)> {
    let (what, remedy) = match error {
        Error::ExternalMessage { source, .. } => match source.as_ref() {
            ExternalMessageSource::Parser(error) => syntax(error.kind()),
            _ => syntax(&ErrorKind::ExpectedNodeContent),
        },
        Error::Eof { .. } => ("there is nothing in it".to_owned(), "begin with `name: demo`"),
        Error::MultipleDocuments { .. } => {
            ("a second document begins here".to_owned(), "keep one of them, and remove the line `---`")
        }
        Error::UnknownAnchor { .. } => {
            ("this repeats an anchor that is not there".to_owned(), "put `&NAME` in front of what it is to repeat")
        }
        Error::MergeValueNotMapOrSeqOfMaps { .. } => {
            ("`<<` takes keys and values".to_owned(), "write `<<: *NAME`, with `&NAME` in front of keys and values")
        }
        Error::UnsupportedTag { .. }
        | Error::TaggedScalarCannotDeserializeIntoString { .. }
        | Error::TaggedEnumMismatch { .. } => ("a tag such as `!x` means nothing here".to_owned(), "remove it"),
        Error::Budget { .. }
        | Error::AliasReplayLimitExceeded { .. }
        | Error::AliasExpansionLimitExceeded { .. }
        | Error::AliasReplayStackDepthExceeded { .. }
        | Error::AliasReplayCounterOverflow { .. }
        | Error::RecursiveReferencesRequireWeakTypes { .. } => {
            ("this is nested too deeply, or repeats too much".to_owned(), "write it out")
        }
        _ => return None,
    };
    Some((what, remedy.to_owned()))
}

/// Why a text is no YAML.
fn syntax(kind: &ErrorKind) -> (String, &'static str) {
    use ErrorKind as E;
    let (what, remedy) = match kind {
        E::TabNotAllowed
        | E::TabInBlockIndentation
        | E::TabInIndentation
        | E::TabAtBlockScalarStart
        | E::TabInPlainScalar => ("a tab stands where YAML takes blanks", "replace it by blanks"),
        E::UnexpectedEofFlowSequence
        | E::UnexpectedEofFlowMapping
        | E::UnexpectedEofImplicitFlowMapping
        | E::UnclosedFlowCollection { .. } => ("a bracket is not closed", "close it with `}` or `]`"),
        E::ExpectedFlowMappingSeparator | E::ExpectedFlowSequenceSeparator => (
            "a `,` or a closing bracket is missing in front of this",
            "write `{ key: value, key: value }` or `[item, item]`",
        ),
        E::MisplacedFlowCollectionEnd | E::MismatchedFlowCollectionEnd { .. } => {
            ("this bracket closes none that is open", "close `{` with `}`, and `[` with `]`")
        }
        E::UnclosedQuotedScalar | E::DocumentIndicatorInQuotedScalar | E::InvalidQuotedScalarIndent => {
            ("a quote is not closed", "close it with the same quote")
        }
        E::InvalidTrailingSingleQuotedScalar | E::InvalidTrailingDoubleQuotedScalar => {
            ("something follows a closing quote", "put all of the value in quotes")
        }
        E::UnexpectedCharacter { character } => {
            return (format!("a value cannot begin with `{}`", character.escape_default()), "put the value in quotes");
        }
        E::MappingValueNotAllowed
        | E::MappingKeyNotAllowed
        | E::InvalidColonPlacement
        | E::InvalidMappingValueWhitespace => (
            "a `key:` cannot stand here",
            "one `key: value` a line, or `{ key: value, key: value }`; put a value with a colon in quotes",
        ),
        E::SimpleKeyExpected
        | E::InvalidSimpleKey
        | E::ExpectedBlockMappingKey
        | E::InvalidIndentation
        | E::ExpectedBlockSequenceEntry
        | E::BlockSequenceEntryNotAllowed => {
            ("this line does not fit the lines above it", "write `key: value`, and begin it below its neighbours' keys")
        }
        _ => (
            "this is no YAML",
            "write `key: value` lines, indented by blanks, and put values with special characters in quotes",
        ),
    };
    (what.to_owned(), remedy)
}

#[cfg(test)]
mod tests;
