//! A front end that says whatever bytes say: what the fuzzer plays, and the test that replays its corpus.
//!
//! The port is the daemon's: a worker that polls, a [`Guest`] that listens on a socket. Each script is one connection.
//! A script is a list of records, each sent by one sendmsg(2):
//!
//! ```text
//! number of file descriptors (low six bits) │ the kind of each, a byte │ length, 16 bits little-endian │ bytes
//! ```
//! The bytes are the stream as it is, whatever the boundaries of messages; only where a record with descriptors, or the
//! script, ends within a message, zeros complete it: the switch would rightly wait a second for the rest.

use super::{Guest, News, Status};
use crate::config::Role;
use crate::plan::{Offer, Rights};
use dataplane::engine::{DomainSpec, Engine, EngineConfig, PortSpec, StopReport};
use dataplane::idle::Poll;
use dataplane::lcore::allowed_cores;
use dataplane::mem::{Arena, ArenaConfig, Hugepages, Mempool};
use dataplane::pmd::vhost::{RingFaultEvents, Vhost};
use dataplane::switch::policy::{DomainPolicy, PortPolicy};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
use std::fs::{self, File};
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// Queue pairs of the port.
pub const PAIRS: u16 = 2;
/// Bytes of guest memory that is as it should be; nothing but its file's size.
const MEMORY: u64 = 1 << 30;
/// Bytes of memory that is full of one byte: indexes and descriptors that make no sense.
const FILLED: usize = 1 << 20;
/// The byte.
const FILLING: u8 = 1;
/// Bytes of a header, and the most of a body; what is longer is refused at once.
const HEADER: usize = 12;
const MOST: usize = 0x1000;
/// Longest that a connection may take to end.
const PATIENCE: Duration = Duration::from_secs(20);

/// A port and what drives it.
#[derive(Debug)]
pub struct Stage {
    engine: Engine,
    guest: Guest,
    news: Receiver<News>,
    directory: PathBuf,
    socket: PathBuf,
    /// Memory to be cut to nothing before the next record.
    doomed: Vec<File>,
}

impl Stage {
    /// A port without a front end.
    ///
    /// # Panics
    /// When the machine has no memory, no core or no room for a socket.
    #[must_use]
    pub fn new() -> Self {
        let arena = Arena::new(&ArenaConfig { frames: 1024, hugepages: Hugepages::Off }).expect("memory");
        let workers = allowed_cores().into_iter().take(1).map(|core| (core, Poll::Economy)).collect();
        let pool = Mempool::new(arena);
        let mut engine = Engine::start(EngineConfig { workers, fdb_entries: 1024, pool }).expect("an engine");
        let policy = DomainPolicy::learning(None, 1000);
        let domain = engine.add_domain(DomainSpec { mtu: 1500, policy }).expect("a domain");
        let fault_events = Arc::new(RingFaultEvents::new().expect("an eventfd"));
        let queues = (0..PAIRS).map(|pair| Vhost::new(pair, PAIRS, &fault_events).into()).collect();
        let port = PortSpec { domain, policy: PortPolicy::limited(100), queues };
        let id = engine.add_port(port).expect("a port");
        let directory = std::env::temp_dir().join(format!("pollux-stage-{}", std::process::id()));
        let socket = directory.join("guest.sock");
        let offer = Offer {
            socket: socket.clone(),
            role: Role::Server,
            rights: Rights::default(),
            pairs: PAIRS,
            mtu: 1500,
            nic: None,
        };
        let (say, news) = channel();
        // nobody listens once the stage is gone
        let tell = move |what| drop(say.send(what));
        let vrings = (engine.vring_handle(id, PAIRS), engine.pool());
        let guest = Guest::start("stage", &offer, vrings, fault_events, tell).expect("a listener");
        Self { engine, guest, news, directory, socket, doomed: Vec::new() }
    }

    /// Plays a script to the port; why the port let the front end go.
    ///
    /// # Panics
    /// When the port does not end the connection, or keeps anything of it.
    pub fn play(&mut self, script: &[u8]) -> String {
        let (before, sessions) = (descriptors(), self.guest.status().sessions);
        let mut stream = UnixStream::connect(&self.socket).expect("a port that listens");
        let mut stage = Speaker { stream: &mut stream, begun: Vec::new() };
        let mut rest = script;
        while let Some((record, later)) = Record::first(rest) {
            // hung up on: nothing more is heard
            if self.say(&mut stage, &record).is_err() {
                break;
            }
            rest = later;
        }
        let _heard_or_not = stage.complete();
        self.doomed.clear();
        finish(&mut stream);
        drop(stream);
        // it hung up: all is said
        self.news.try_iter().for_each(drop);
        let Status { connected, rings, active, last, sessions: now, .. } = self.guest.status();
        assert!(!connected && rings.iter().all(Option::is_none), "rings are left: {rings:?}");
        assert!(!active.contains(&true), "pairs in use without a guest");
        assert_eq!(descriptors(), before, "file descriptors are left");
        // one that never spoke had no session
        last.filter(|_| now > sessions).unwrap_or_default()
    }

    fn say(&mut self, speaker: &mut Speaker<'_>, record: &Record<'_>) -> io::Result<()> {
        self.doomed.drain(..).for_each(|file| file.set_len(0).expect("a shorter file"));
        let files: Vec<OwnedFd> = record.kinds.iter().map(|kind| self.file(*kind)).collect();
        let zeros = if files.is_empty() { 0 } else { speaker.lacks(record.bytes) };
        speaker.send(&[record.bytes, &vec![0; zeros]].concat(), &files)
    }

    /// A file of a kind: what front ends send, and what none should.
    fn file(&mut self, kind: u8) -> OwnedFd {
        match kind % 6 {
            0 => EventFd::from_flags(EfdFlags::EFD_CLOEXEC).expect("an eventfd").into(),
            1 => memory(MEMORY).into(),
            2 => {
                let mut file = memory(0);
                file.write_all(&[FILLING; FILLED]).expect("memory");
                file.into()
            }
            3 => {
                let file = memory(MEMORY);
                self.doomed.push(file.try_clone().expect("a descriptor"));
                file.into()
            }
            4 => File::open("/proc/self/exe").expect("ourselves").into(),
            _ => nix::unistd::pipe().expect("a pipe").0,
        }
    }

    /// Takes the port down; how many frames there are then.
    #[must_use]
    pub fn close(self) -> StopReport {
        drop(self.guest);
        // it lies in a directory for temporary files
        let _ = fs::remove_dir_all(&self.directory);
        self.engine.stop()
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

fn memory(len: u64) -> File {
    let file = File::from(memfd_create(c"guest", MFdFlags::MFD_CLOEXEC).expect("a memfd"));
    file.set_len(len).expect("memory");
    file
}

/// How many the process has.
fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").expect("/proc").count()
}

/// What is sent at once.
#[derive(Debug, PartialEq, Eq)]
struct Record<'a> {
    kinds: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Record<'a> {
    /// The first record of a script, and the others; `None` at its end.
    fn first(script: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let (count, rest) = script.split_first()?;
        let (kinds, rest) = rest.split_at_checked(usize::from(count & 63))?;
        let (len, rest) = rest.split_first_chunk()?;
        let (bytes, rest) = rest.split_at(rest.len().min(u16::from_le_bytes(*len).into()));
        Some((Self { kinds, bytes }, rest))
    }
}

/// The sending side. What comes back is thrown away, lest the switch wait for us to read it.
#[derive(Debug)]
struct Speaker<'a> {
    stream: &'a mut UnixStream,
    /// The message that is not all sent.
    begun: Vec<u8>,
}

impl Speaker<'_> {
    fn send(&mut self, bytes: &[u8], files: &[OwnedFd]) -> io::Result<()> {
        let fds: Vec<_> = files.iter().map(AsRawFd::as_raw_fd).collect();
        let rights = [ControlMessage::ScmRights(&fds)];
        let control = if fds.is_empty() { &[][..] } else { &rights };
        if !bytes.is_empty() {
            let fd = self.stream.as_raw_fd();
            let sent = sendmsg::<()>(fd, &[IoSlice::new(bytes)], control, MsgFlags::MSG_NOSIGNAL, None)?;
            self.begun.extend_from_slice(&bytes[..sent]);
            let end = whole_messages(&self.begun);
            self.begun.drain(..end);
        }
        self.listen()
    }

    /// Bytes that the stream lacks to end with a message, once `bytes` are sent.
    fn lacks(&self, bytes: &[u8]) -> usize {
        let mut all = [&self.begun, bytes].concat();
        all.drain(..whole_messages(&all));
        let begun = all.len();
        all.resize(begun.max(HEADER), 0);
        if begun == 0 { 0 } else { whole(&all).unwrap_or(HEADER) - begun }
    }

    /// Sends what the message that was begun lacks.
    fn complete(&mut self) -> io::Result<()> {
        let zeros = vec![0; self.lacks(&[])];
        self.send(&zeros, &[])
    }

    fn listen(&mut self) -> io::Result<()> {
        self.stream.set_nonblocking(true)?;
        let heard = drain(self.stream);
        self.stream.set_nonblocking(false)?;
        heard
    }
}

/// Bytes of the message that begins here, header and body, once the header is there; one that is too long has none.
fn whole(message: &[u8]) -> Option<usize> {
    let size = u32::from_ne_bytes(*message.get(8..)?.first_chunk()?);
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    Some(HEADER + if size > MOST { 0 } else { size })
}

/// Bytes of the messages that are whole.
fn whole_messages(stream: &[u8]) -> usize {
    let mut end = 0;
    while let Some(next) = whole(&stream[end..]).filter(|len| *len <= stream.len() - end) {
        end += next;
    }
    end
}

/// Reads until there is nothing, or the end.
fn drain(stream: &mut UnixStream) -> io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return Err(ErrorKind::ConnectionReset.into()),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Says no more, and waits until the port has hung up.
fn finish(stream: &mut UnixStream) {
    // gone already, perhaps
    let _ = stream.shutdown(Shutdown::Write);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let end = drain(stream);
    assert!(end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), "the port neither answers nor hangs up");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    /// Every conversation of the fuzzer's corpus, one after the other on one port: recorded ones end because the front end
    /// goes, those named `refused` for what was wrong with them; nothing is left of any.
    #[test]
    fn the_corpus_of_conversations_is_survived() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/session");
        let mut scripts: Vec<PathBuf> =
            fs::read_dir(corpus).expect("the corpus").map(|entry| entry.expect("a script").path()).collect();
        scripts.sort();
        let mut stage = Stage::new();
        for script in scripts {
            let name = script.file_name().expect("a name").to_string_lossy().into_owned();
            let why = stage.play(&fs::read(&script).expect("a script"));
            match name.split('-').next() {
                Some("qemu" | "testpmd") => assert_eq!(why, "the front end has gone", "{name}"),
                Some("refused") => assert_ne!(why, "the front end has gone", "{name}"),
                _ => {}
            }
            eprintln!("{name}: {why}");
        }
        let report = stage.close();
        assert_eq!(report.free, report.total, "frames are missing");
    }

    #[test]
    fn a_script_is_cut_into_records() {
        let script = [2, 0, 1, 3, 0, 7, 8, 9, 0, 5, 0, 1];
        let (first, rest) = Record::first(&script).expect("a record");
        assert_eq!(first, Record { kinds: &[0, 1], bytes: &[7, 8, 9] });
        let (second, rest) = Record::first(rest).expect("a record");
        assert_eq!((second, rest), (Record { kinds: &[], bytes: &[1] }, &[][..]));
        assert_eq!(Record::first(rest), None);
    }

    #[test]
    fn a_message_is_completed_by_zeros() {
        let (mut ours, theirs) = UnixStream::pair().expect("a pair");
        let mut speaker = Speaker { stream: &mut ours, begun: Vec::new() };
        speaker.send(&[1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 7], &[]).expect("sending");
        speaker.complete().expect("sending");
        speaker.send(&[2], &[]).expect("sending");
        speaker.complete().expect("sending");
        drop(ours);
        let mut heard = Vec::new();
        (&theirs).read_to_end(&mut heard).expect("reading");
        assert_eq!(heard.len(), HEADER + 8 + HEADER);
    }
}
