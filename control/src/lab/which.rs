//! Which lab a command line means: by its file, as that is now or was when the lab came up; by its name; or by its socket.

use crate::api::client::Client;
use crate::config::document;
use crate::failure::Failure;
use crate::live::journal::{self, DIRECTORY, Header};
use crate::plan;
use crate::view::Status;
use std::path::Path;

/// The name of the lab that `text` means: a file, or a name. A file that cannot be read any more, or is gone, still means
/// the lab it has started; one whose `name` was changed meanwhile means neither, and says so.
pub fn named(text: &str) -> Result<String, Failure> {
    let labs = journal::all(Path::new(DIRECTORY));
    let origin = journal::origin(Path::new(text));
    let started =
        labs.iter().find(|(_, header)| header.file == origin && text != document::STDIN).map(|(name, _)| name.clone());
    let known = |name: &str| labs.iter().any(|(its, _)| its == name);
    if text != document::STDIN && !Path::new(text).exists() {
        let by_name = known(text).then(|| text.to_owned());
        return by_name.or(started).ok_or_else(|| unknown(text, &labs));
    }
    let name = match document::name_of(text) {
        Ok(name) => name,
        Err(problems) => {
            let hint = "the lab is known by its name too: `pollux lab down NAME`";
            return started.ok_or_else(|| Failure::new(format!("{problems}\n{hint}; {}", up(&labs))));
        }
    };
    match started {
        Some(started) if !known(&name) => Err(Failure::new(format!(
            "{text}: lab `{name}` is not up: this file started lab `{started}`; `pollux lab down {started}` takes that down"
        ))),
        _ if !plan::is_name(&name) => Err(Failure::new(format!(
            "{text}: `{name}` cannot be the name of a switch; `pollux check {text}` says why"
        ))),
        _ => Ok(name),
    }
}

/// The name of the lab whose daemon listens at `socket`, or did until it died.
pub fn listening(socket: &Path) -> Result<String, Failure> {
    let client = Client::new(socket);
    client.get::<Status>("/v1/status").map(|status| status.name).or_else(|error| {
        let socket = std::path::absolute(socket).unwrap_or_default();
        let mut labs = journal::all(Path::new(DIRECTORY)).into_iter();
        labs.find(|(_, header)| header.socket == socket).map(|(name, _)| name).ok_or_else(|| error.into())
    })
}

fn unknown(text: &str, labs: &[(String, Header)]) -> Failure {
    Failure::new(format!("there is no file `{text}`, and no lab of that name is up; {}", up(labs)))
}

fn up(labs: &[(String, Header)]) -> String {
    let names: Vec<_> = labs.iter().map(|(name, _)| name.as_str()).collect();
    if names.is_empty() { "no lab is up".to_owned() } else { format!("up: {}", names.join(", ")) }
}
