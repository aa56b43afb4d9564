//! From text to [`Config`], with the place of every key and value.
//!
//! The text is read twice: once into a tree that only remembers places (`ports.p2.mtu` → line and column), once into the
//! configuration types. So the types stay free of positions, and every later mistake finds its line by its path. What comes
//! by the API or the command line is read the same way, so that it is refused in the same words.

use super::words;
use crate::config::Config;
pub use crate::config::places::Places;
use crate::problem::{Problem, Problems, SourceLocation};
use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_saphyr::Spanned;
use std::fs::File;
use std::io::{self, Read};

/// Larger files are refused unread; a lab of 1024 ports is about 100 KiB.
pub const MAX_BYTES: u64 = 4 << 20;
/// The file name that stands for standard input.
pub const STDIN: &str = "-";

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
    #[derive(serde::Deserialize, JsonSchema)]
    struct Name {
        #[schemars(example = &"demo")]
        name: String,
    }
    parse(file, &read(file)?).map(|document: Document<Name>| document.config.name)
}

/// The text of a file, a pipe, or `-`. Pipes can be read once only.
pub fn read(file: &str) -> Result<String, Problems> {
    let refused = |what: String, remedy: &str| Problems::one(file, Problem::new("", what, remedy));
    let bytes = bytes(file)
        .map_err(|error| refused(format!("cannot be read: {}", unreadable(&error)), "name a YAML file, or `-`"))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(refused(format!("more than {MAX_BYTES} bytes"), "keep it under that"));
    }
    let text = String::from_utf8(bytes).map_err(|error| Problems::one(file, not_utf8(&error)))?;
    if text.contains('\0') {
        return Err(refused("there are zero bytes in it: it is no text, or in UTF-16".to_owned(), "save it as UTF-8"));
    }
    Ok(text)
}

/// Bounded: it may be a device or a pipe that never ends.
fn bytes(file: &str) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == STDIN {
        io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    } else {
        File::open(file)?.take(MAX_BYTES + 1).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn unreadable(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Names the encoding of a text that is not UTF-8, and where it differs.
fn not_utf8(error: &std::string::FromUtf8Error) -> Problem {
    let bytes = error.as_bytes();
    let (good, rest) = bytes.split_at(error.utf8_error().valid_up_to());
    let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
    let what = if utf16 {
        "the file is in UTF-16, and is read as UTF-8".to_owned()
    } else {
        format!("byte 0x{:02x} is not UTF-8; the file may be in Latin-1", rest.first().copied().unwrap_or_default())
    };
    let good = String::from_utf8_lossy(good);
    let place = SourceLocation {
        line: good.matches('\n').count() as u64 + 1,
        column: good.rsplit('\n').next().unwrap_or_default().chars().count() as u64 + 1,
    };
    Problem { place, ..Problem::new("", what, "save it as UTF-8") }
}

/// Reads a text.
pub fn parse<T: DeserializeOwned + JsonSchema>(file: &str, text: &str) -> Result<Document<T>, Problems> {
    let mut places = Places::default();
    let refused = |error: &serde_saphyr::Error, places: &Places| {
        Problems::one(file, words::problem(error, places, &schema_for!(T)))
    };
    let tree: Spanned<_> = serde_saphyr::from_str(text).map_err(|error| refused(&error, &places))?;
    places = Places::of(text, &tree);
    let config = serde_saphyr::from_str(text).map_err(|error| refused(&error, &places))?;
    Ok(Document { file: file.to_owned(), config, places })
}

/// Reads what came by the API as if it stood in the file at `path`. JSON is YAML.
pub fn from_json<T: DeserializeOwned + JsonSchema>(path: &str, value: &serde_json::Value) -> Result<T, Problem> {
    let read = parse("", &value.to_string()).map(|document| document.config);
    read.map_err(|problems| {
        let Problem { path: inside, what, remedy, .. } = problems.list.into_iter().next().unwrap_or_default();
        let path = [path, inside.as_str()]
            .iter()
            .filter(|part| !part.is_empty())
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(".");
        Problem::new(path, what, remedy)
    })
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
            ("ports: {}\n", "x.yaml:1:1: name: the key `name` is missing; add `name: demo`"),
            (
                "name: a\nports:\n  h1: { mtu: 3 }\n",
                "x.yaml:3:9: ports.h1.kind: the key `kind` is missing; add `kind: tap`",
            ),
            (
                "name: a\nports:\n  h1:\n    mtu: 3\n",
                "x.yaml:4:5: ports.h1.kind: the key `kind` is missing; add `kind: tap`",
            ),
            (
                "name: a\nports:\n  h1: { kind: tapp }\n",
                "x.yaml:3:15: ports.h1.kind: unknown value `tapp`; did you mean `tap`?",
            ),
            (
                "name: a\nworkers: [0, x]\n",
                "x.yaml:2:14: workers.1: an item of `workers` is a core such as 1, or { core: 1, poll: busy }, here is `x`; write `workers: [1]`",
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
    fn a_file_in_another_encoding_is_called_so() {
        let file = std::env::temp_dir().join(format!("plxt-encoding-{}", std::process::id()));
        for (bytes, place, words) in [
            (&b"\xff\xfen\0a\0"[..], ":1:1:", "UTF-16"),
            (b"n\0a\0", "", "zero bytes"),
            (b"name: a\n# caf\xe9\n", ":2:6:", "Latin-1"),
        ] {
            std::fs::write(&file, bytes).unwrap();
            let said = read(&file.to_string_lossy()).unwrap_err().to_string();
            assert!(said.contains(words) && said.contains(place) && said.contains("save it as UTF-8"), "{said}");
        }
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn a_path_that_is_not_written_stands_at_the_nearest_one_that_is() {
        let document: Document = parse("x", "name: a\nports:\n  h1: { kind: tap }\n").unwrap();
        assert_eq!(document.places.value("ports.h1.kind"), SourceLocation { line: 3, column: 15 });
        assert_eq!(document.places.value("ports.h1.mtu"), document.places.value("ports.h1"));
        assert_eq!(document.places.key("ports.h1"), SourceLocation { line: 3, column: 3 });
    }
}
