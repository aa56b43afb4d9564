//! The journal: what this switch made, written down before it is made.
//!
//! `/run/pollux/NAME.state` is locked (flock) while the switch lives, so a second one of the same name is refused and the
//! lock is free the moment the process is gone, however it went. After SIGKILL the next start, or `lab down`, reads
//! the journal and undoes what it lists.
//!
//! Every entry carries what tells the thing from another of the same name (a namespace's number, a MAC address): what
//! somebody else has made meanwhile is never touched.
//!
//! Lines are only ever added, until more are struck out than stand: then what stands is written to a new file, which is
//! locked before it takes the place of the old one.

use crate::config::document::STDIN;
use crate::failure::unwritable_hint;
use crate::kernel::limits;
use crate::net::Netns;
use crate::socket::DYING;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

mod undo;

pub(crate) use undo::{find_veth, restore};

/// Where journals, logs and the socket live.
pub const DIRECTORY: &str = "/run/pollux";
/// Things struck out before a new file is worth writing.
const MOST_STRUCK: usize = 256;

/// Something that outlives the process unless it is undone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// A namespace.
    Netns {
        /// Its name.
        name: String,
        /// The kernel's number of it.
        number: u64,
    },
    /// Our end of a veth pair, on the host.
    Veth {
        /// Its name when it was made.
        name: String,
        /// Its address, which only we would choose and by which it is known.
        mac: String,
    },
    /// A TAP. The kernel removes it with the process, a moment later.
    Tap {
        /// Where.
        place: Netns,
        /// Its name.
        name: String,
    },
    /// An existing interface that must be put back as it was.
    Device {
        /// Where.
        place: Netns,
        /// Its name when it was taken.
        name: String,
        /// Its index, by which it is known: names change, and another one of the name is not ours.
        index: u32,
        /// Its MTU before.
        mtu: u32,
        /// Whether it was up.
        up: bool,
        /// Whether it was promiscuous.
        promiscuous: bool,
    },
    /// A directory made for a socket.
    Directory {
        /// Where.
        path: PathBuf,
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
    /// The file it was started from; empty if that has no place, such as a pipe.
    #[serde(default)]
    pub file: PathBuf,
    /// The boot it ran in: after a reboot nothing of it is left.
    pub boot: String,
    /// Processes killed for want of memory when it started ([`limits::oom_kills`]).
    #[serde(default)]
    pub oom_kills: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Start(Header),
    /// Number, and what it is.
    Make(usize, Resource),
    /// The thing of that number is undone.
    Undone(usize),
}

/// An entry of the journal, for striking it out.
#[derive(Debug, PartialEq, Eq)]
pub struct EntryId(usize);

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
    #[error("{path}: {error}{}", unwritable_hint(error))]
    File {
        /// Which.
        path: PathBuf,
        /// The answer.
        error: io::Error,
    },
}

/// The journal of a live switch.
#[derive(Debug)]
pub struct Journal {
    file: Flock<File>,
    path: PathBuf,
    /// What stands in it, by number.
    things: BTreeMap<usize, Resource>,
    /// Number of the next thing.
    next: usize,
    /// Things struck out that are still in the file.
    struck: usize,
    header: Header,
    /// What was found of a predecessor and undone, for the log.
    pub cleaned: Vec<String>,
}

impl Journal {
    /// Takes the name, undoing what a dead predecessor left.
    pub fn open(directory: &Path, name: &str, (socket, file): (&Path, &Path)) -> Result<Self, StateError> {
        let (path, from) = (file_of(directory, name), file);
        let fault = |error| StateError::File { path: path.clone(), error };
        DirBuilder::new().recursive(true).mode(0o755).create(directory).map_err(fault)?;
        let mut file = lock(&path, name)?;
        let cleaned = clean(&mut file).map_err(fault)?;
        file.set_len(0).and_then(|()| file.rewind()).map_err(fault)?;
        // of one that was killed while it wrote
        let _seldom_there = fs::remove_file(successor(&path));
        let (socket, from) = (socket.to_owned(), from.to_owned());
        let (pid, oom_kills) = (std::process::id(), limits::oom_kills());
        let header = Header { pid, socket, file: from, boot: boot(), oom_kills };
        append(&mut file, &Line::Start(header.clone())).map_err(fault)?;
        Ok(Self { file, path: path.clone(), things: BTreeMap::new(), next: 0, struck: 0, header, cleaned })
    }

    /// Writes down what is about to be made.
    pub fn record(&mut self, thing: Resource) -> Result<EntryId, StateError> {
        let fault = |error| StateError::File { path: self.path.clone(), error };
        append(&mut self.file, &Line::Make(self.next, thing.clone())).map_err(fault)?;
        self.things.insert(self.next, thing);
        self.next += 1;
        Ok(EntryId(self.next - 1))
    }

    /// Strikes out what is gone. If that cannot be written the next start looks for it in vain, which is harmless.
    pub fn erase(&mut self, ticket: EntryId) {
        let _harmless = append(&mut self.file, &Line::Undone(ticket.0));
        self.things.remove(&ticket.0);
        self.struck += 1;
        if self.struck > MOST_STRUCK.max(self.things.len()) {
            self.struck = 0;
            // if it cannot be written the old one goes on
            let _harmless = self.renew();
        }
    }

    /// Writes what stands to a new file.
    fn renew(&mut self) -> io::Result<()> {
        let path = successor(&self.path);
        let new = open_file(&path)?;
        new.set_len(0)?;
        let mut new = Flock::lock(new, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)?;
        append(&mut new, &Line::Start(self.header.clone()))?;
        for (number, thing) in &self.things {
            append(&mut new, &Line::Make(*number, thing.clone()))?;
        }
        fs::rename(&path, &self.path)?;
        self.file = new;
        Ok(())
    }

    /// Everything is undone but the directories of the API's socket, which is gone: they and the journal go too.
    pub fn finish(self) {
        for thing in self.things.values().rev() {
            if let Resource::Directory { path } = thing {
                let _in_use_by_others = fs::remove_dir(path);
            }
        }
        let _gone = fs::remove_file(&self.path);
    }
}

fn append(file: &mut File, line: &Line) -> io::Result<()> {
    let mut text = serde_json::to_string(line)?;
    text.push('\n');
    // one write: a crash leaves whole lines or a last one that does not parse
    file.write_all(text.as_bytes())
}

/// The file that is to replace a journal.
fn successor(path: &Path) -> PathBuf {
    path.with_extension("state.new")
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

fn read(file: &mut File) -> io::Result<(Option<Header>, Vec<Resource>)> {
    let mut text = String::new();
    file.rewind()?;
    file.read_to_string(&mut text)?;
    let mut header = None;
    let mut things = BTreeMap::new();
    for line in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match line {
            Line::Start(start) => header = Some(start),
            Line::Make(number, thing) => drop(things.insert(number, thing)),
            Line::Undone(number) => drop(things.remove(&number)),
        }
    }
    Ok((header, things.into_values().collect()))
}

fn read_header(file: &mut File) -> Option<Header> {
    read(file).ok()?.0
}

/// The journal of the switch `name`, if there is one: who wrote it.
#[must_use]
pub fn header(directory: &Path, name: &str) -> Option<Header> {
    read_header(&mut File::open(file_of(directory, name)).ok()?)
}

/// The journals there are: of what switch, and who wrote each.
#[must_use]
pub fn all(directory: &Path) -> Vec<(String, Header)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".state")?.to_owned()));
    let mut all: Vec<_> = names.filter_map(|name| Some((name.clone(), header(directory, &name)?))).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

/// How a journal spells the file a switch was started from (nothing for standard input): the same while the file is there and when it is gone.
#[must_use]
pub fn origin(file: &Path) -> PathBuf {
    if file == Path::new(STDIN) {
        return PathBuf::new();
    }
    let absolute = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    match (absolute.parent().and_then(|parent| parent.canonicalize().ok()), absolute.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        _ => absolute,
    }
}

/// The namespaces that the switch `name` has made, with the kernel's numbers of them.
#[must_use]
pub fn namespaces(directory: &Path, name: &str) -> Vec<(String, u64)> {
    let read = File::open(file_of(directory, name)).and_then(|mut file| read(&mut file));
    let (_, things) = read.unwrap_or_default();
    let of = |thing| match thing {
        Resource::Netns { name, number } => Some((name, number)),
        _ => None,
    };
    things.into_iter().filter_map(of).collect()
}

/// The live process that holds the journal of `name`.
#[must_use]
pub fn holder(directory: &Path, name: &str) -> Option<u32> {
    let path = file_of(directory, name);
    loop {
        match Flock::lock(File::open(&path).ok()?, FlockArg::LockSharedNonblock) {
            Err((mut file, Errno::EWOULDBLOCK)) => return read_header(&mut file).map(|header| header.pid),
            // its successor may be held
            Ok(file) if !is_at(&file, &path) => {}
            _ => return None,
        }
    }
}

/// Whose something is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The switch.
    pub switch: String,
    /// Whether it runs.
    pub alive: bool,
}

/// The switch that made the thing which `is_it` recognises, according to its journal.
pub fn owner(directory: &Path, is_it: impl Fn(&Resource) -> bool) -> Option<Owner> {
    let files = fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path());
    let journals = files.filter(|path| path.extension().is_some_and(|extension| extension == "state"));
    let lists = |path: &PathBuf| {
        let read = File::open(path).ok().and_then(|mut file| read(&mut file).ok());
        read.is_some_and(|(header, things)| {
            header.is_some_and(|header| header.boot == boot()) && things.iter().any(&is_it)
        })
    };
    let switch = journals.into_iter().find(lists)?.file_stem()?.to_str()?.to_owned();
    Some(Owner { alive: holder(directory, &switch).is_some(), switch })
}

/// Waits until no process holds the journal of `name`, then undoes what is left of it; says what that was.
pub fn wait_and_clean(directory: &Path, name: &str) -> Result<Vec<String>, StateError> {
    let path = file_of(directory, name);
    let fault = |error| StateError::File { path: path.clone(), error };
    loop {
        let opened = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            opened => opened.map_err(fault)?,
        };
        let mut file = Flock::lock(opened, FlockArg::LockExclusive).map_err(|(_, error)| fault(error.into()))?;
        // Another has taken its place: the switch wrote a new one, or has ended.
        if !is_at(&file, &path) {
            continue;
        }
        let cleaned = clean(&mut file).map_err(fault)?;
        fs::remove_file(&path).map_err(fault)?;
        return Ok(cleaned);
    }
}

#[cfg(test)]
mod tests;
