//! The journal: what this switch made, written down before it is made.
//!
//! `/run/pollux/NAME.state` is locked (flock) while the switch lives, so a second one of the same name is refused and the
//! lock is free the moment the process is gone, however it went. After SIGKILL the next start, or `lab down`, reads
//! the journal and undoes what it lists.
//!
//! Every entry carries what tells the thing from another of the same name (a namespace's number, a MAC address): what
//! somebody else has made meanwhile is never touched.

use crate::plan::NetPlace;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod undo;

pub(crate) use undo::restore;

/// Where journals, logs and the socket live.
pub const DIRECTORY: &str = "/run/pollux";
/// How long a killed process may still hold its lock and its socket.
pub const DYING: Duration = Duration::from_millis(500);

/// Something that outlives the process unless it is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Thing {
    /// A namespace.
    Netns {
        /// Its name.
        name: String,
        /// The kernel's number of it.
        number: u64,
    },
    /// Our end of a veth pair, on the host.
    Veth {
        /// Its name.
        name: String,
        /// Its address, which only we would choose.
        mac: String,
    },
    /// A TAP. The kernel removes it with the process, a moment later.
    Tap {
        /// Where.
        place: NetPlace,
        /// Its name.
        name: String,
    },
    /// An existing interface that must be put back as it was.
    Device {
        /// Where.
        place: NetPlace,
        /// Its name.
        name: String,
        /// Its index: another one of the name is not ours to change.
        index: u32,
        /// Its MTU before.
        mtu: u32,
        /// Whether it was up.
        up: bool,
        /// Whether it was promiscuous.
        promiscuous: bool,
    },
    /// The API's socket.
    Socket {
        /// Where.
        path: PathBuf,
    },
}

/// Who wrote a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The process.
    pub pid: u32,
    /// Where it listens.
    pub socket: PathBuf,
    /// The boot it ran in: after a reboot nothing of it is left.
    pub boot: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Start(Header),
    Make(Thing),
    /// The n-th `Make` is undone.
    Undone(usize),
}

/// An entry of the journal, for striking it out.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket(usize);

/// The journal could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// A live switch has the name.
    #[error(
        "switch `{name}` is running already (pid {pid}); `pollux lab down FILE` stops it, or give this one another name"
    )]
    Running {
        /// The name.
        name: String,
        /// Its process.
        pid: u32,
    },
    /// A file could not be handled.
    #[error("{path}: {error}{}", hint(error))]
    File {
        /// Which.
        path: PathBuf,
        /// The answer.
        error: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied { "; run as root" } else { "" }
}

/// The journal of a live switch.
#[derive(Debug)]
pub struct Journal {
    file: Flock<File>,
    path: PathBuf,
    written: usize,
    /// What was found of a predecessor and undone, for the log.
    pub cleaned: Vec<String>,
}

impl Journal {
    /// Takes the name, undoing what a dead predecessor left.
    pub fn open(directory: &Path, name: &str, socket: &Path) -> Result<Self, StateError> {
        let path = file_of(directory, name);
        let fault = |error| StateError::File { path: path.clone(), error };
        DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(fault)?;
        let mut file = lock(&path, name)?;
        let cleaned = clean(&mut file).map_err(fault)?;
        file.set_len(0).and_then(|()| file.rewind()).map_err(fault)?;
        let mut journal = Self { file, path: path.clone(), written: 0, cleaned };
        let header = Header { pid: std::process::id(), socket: socket.to_owned(), boot: boot() };
        journal.write(&Line::Start(header)).map_err(fault)?;
        Ok(journal)
    }

    /// Writes down what is about to be made.
    pub fn intend(&mut self, thing: Thing) -> Result<Ticket, StateError> {
        let path = self.path.clone();
        self.write(&Line::Make(thing)).map_err(|error| StateError::File { path, error })?;
        self.written += 1;
        Ok(Ticket(self.written - 1))
    }

    /// Strikes out what is gone. If that cannot be written the next start looks for it in vain, which is harmless.
    pub fn strike(&mut self, ticket: Ticket) {
        let _harmless = self.write(&Line::Undone(ticket.0));
    }

    /// Everything is undone: the journal goes too.
    pub fn finish(self) {
        let _gone = fs::remove_file(&self.path);
    }

    fn write(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_string(line)?;
        text.push('\n');
        // one write: a crash leaves whole lines or a last one that does not parse
        self.file.write_all(text.as_bytes())
    }
}

fn file_of(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.state"))
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o644).open(path)
}

/// Locks the file at `path`, not one that was removed while we waited for it. A process that was killed holds its lock for
/// some milliseconds more, so the refusal waits that long.
fn lock(path: &Path, name: &str) -> Result<Flock<File>, StateError> {
    let fault = |error| StateError::File { path: path.to_owned(), error };
    let end = Instant::now() + DYING;
    loop {
        match Flock::lock(open_file(path).map_err(fault)?, FlockArg::LockExclusiveNonblock) {
            Ok(file) if is_at(&file, path) => return Ok(file),
            Ok(_) => {}
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() < end => std::thread::sleep(Duration::from_millis(2)),
            Err((mut file, Errno::EWOULDBLOCK)) => {
                let pid = read_header(&mut file).map_or(0, |header| header.pid);
                return Err(StateError::Running { name: name.to_owned(), pid });
            }
            Err((_, error)) => return Err(fault(error.into())),
        }
    }
}

fn is_at(file: &File, path: &Path) -> bool {
    match (file.metadata(), fs::metadata(path)) {
        (Ok(held), Ok(there)) => held.ino() == there.ino() && held.dev() == there.dev(),
        _ => false,
    }
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// Undoes what the journal lists, last made first.
fn clean(file: &mut File) -> io::Result<Vec<String>> {
    let (header, things) = read(file)?;
    if header.is_none_or(|header| header.boot != boot()) {
        return Ok(Vec::new());
    }
    Ok(things.iter().rev().filter_map(undo::undo).collect())
}

fn read(file: &mut File) -> io::Result<(Option<Header>, Vec<Thing>)> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    let mut header = None;
    let mut things = Vec::new();
    for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::Start(start) => header = Some(start),
            Line::Make(thing) => things.push(Some(thing)),
            Line::Undone(n) => {
                if let Some(thing) = things.get_mut(n) {
                    *thing = None;
                }
            }
        }
    }
    Ok((header, things.into_iter().flatten().collect()))
}

fn read_header(file: &mut File) -> Option<Header> {
    read(file).ok()?.0
}

/// The journal of the switch `name`, if there is one: who wrote it.
#[must_use]
pub fn header(directory: &Path, name: &str) -> Option<Header> {
    read_header(&mut File::open(file_of(directory, name)).ok()?)
}

/// The live process that holds the journal of `name`.
#[must_use]
pub fn holder(directory: &Path, name: &str) -> Option<u32> {
    let file = File::open(file_of(directory, name)).ok()?;
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Err((mut file, Errno::EWOULDBLOCK)) => read_header(&mut file).map(|header| header.pid),
        _ => None,
    }
}

/// Waits until no process holds the journal of `name`, then undoes what is left of it; says what that was.
pub fn wait_and_clean(directory: &Path, name: &str) -> Result<Vec<String>, StateError> {
    let path = file_of(directory, name);
    let fault = |error| StateError::File { path: path.clone(), error };
    if !path.exists() {
        return Ok(Vec::new());
    }
    let opened = OpenOptions::new().read(true).write(true).open(&path).map_err(fault)?;
    let mut file = Flock::lock(opened, FlockArg::LockExclusive).map_err(|(_, error)| fault(error.into()))?;
    if !is_at(&file, &path) {
        return Ok(Vec::new());
    }
    let cleaned = clean(&mut file).map_err(fault)?;
    fs::remove_file(&path).map_err(fault)?;
    Ok(cleaned)
}

#[cfg(test)]
mod tests;
