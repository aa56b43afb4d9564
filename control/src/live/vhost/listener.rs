//! A socket that front ends connect to. Whoever speaks first is served: a connection that says nothing (a health probe, a
//! stopped QEMU) keeps nobody out, and one that comes and goes costs nothing but its descriptor.

use super::wire::{self, Waiting};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

/// Most connections that have not spoken yet: for one more, the one that has waited longest is closed.
const WAITING: usize = 4;
/// Connections that are accepted at once.
const AT_ONCE: usize = 16;
/// When accepting fails (no file descriptors are left), it is tried again after this time.
const PAUSE: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug)]
pub(super) struct Listener {
    socket: UnixListener,
    /// Nothing is accepted until then.
    paused: Option<Instant>,
    waiting: VecDeque<UnixStream>,
    /// The one to be served next.
    spoken: Option<UnixStream>,
}

impl Listener {
    pub(super) fn new(socket: UnixListener) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket, paused: None, waiting: VecDeque::new(), spoken: None })
    }

    /// What is readable once there is something to do here.
    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let knocks = self.paused.is_none().then(|| self.socket.as_fd());
        knocks.into_iter().chain(self.waiting.iter().map(AsFd::as_fd))
    }

    /// There is something to do after this time too.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.paused.map(|until| until.saturating_duration_since(Instant::now()))
    }

    /// The one that has spoken.
    pub(super) fn take(&mut self) -> Option<UnixStream> {
        self.spoken.take()
    }

    /// Lets in who knocks, and hears who speaks; true once somebody has. `beside` a front end, bytes that are no message
    /// count for nothing.
    pub(super) fn hear(&mut self, beside: bool) -> bool {
        for stream in self.accept() {
            if self.waiting.len() == WAITING {
                self.waiting.pop_front();
            }
            self.waiting.push_back(stream);
        }
        let mut i = 0;
        while let Some(stream) = self.waiting.get(i) {
            let speaks = match wire::look(stream) {
                Ok(Waiting::Nothing) => {
                    i += 1;
                    continue;
                }
                Ok(Waiting::End) => false,
                Ok(_) => true,
                Err(error) => !beside && error.kind() == io::ErrorKind::InvalidData,
            };
            let stream = self.waiting.remove(i);
            if speaks {
                self.spoken = stream;
                return true;
            }
        }
        false
    }

    /// Closes everybody who is here or knocks; how many there were.
    pub(super) fn turn_away(&mut self) -> usize {
        let here = self.waiting.len() + usize::from(self.spoken.take().is_some());
        self.waiting.clear();
        here + self.accept().len()
    }

    fn accept(&mut self) -> Vec<UnixStream> {
        if self.pause().is_some_and(|pause| !pause.is_zero()) {
            return Vec::new();
        }
        self.paused = None;
        let mut accepted = Vec::new();
        while accepted.len() < AT_ONCE {
            match self.socket.accept() {
                Ok((stream, _)) => accepted.push(stream),
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    // whoever knocks stays in the queue of the socket, which stays readable
                    self.paused = Some(Instant::now() + PAUSE);
                    break;
                }
            }
        }
        accepted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

    /// GET_FEATURES.
    const MESSAGE: [u8; 12] = [1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0];

    fn listener() -> (Listener, impl Fn() -> UnixStream) {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let name = format!("pollux-listener-{}-{}", std::process::id(), MADE.fetch_add(1, Relaxed));
        let address = SocketAddr::from_abstract_name(name).expect("an address");
        let listener = Listener::new(UnixListener::bind_addr(&address).expect("a socket")).expect("a listener");
        (listener, move || UnixStream::connect_addr(&address).expect("a connection"))
    }

    #[test]
    fn whoever_speaks_first_is_served() {
        let (mut listener, connect) = listener();
        let _silent = connect();
        assert!(!listener.hear(false));
        let mut second = connect();
        second.write_all(&MESSAGE).expect("sending");
        assert!(listener.hear(false) && listener.take().is_some());
        assert_eq!(listener.waiting.len(), 1, "the silent one still may");
    }

    #[test]
    fn whoever_comes_and_goes_leaves_nothing() {
        let (mut listener, connect) = listener();
        (0..AT_ONCE).for_each(|_| drop(connect()));
        assert!(!listener.hear(false));
        assert!(listener.waiting.is_empty());
    }

    #[test]
    fn the_oldest_of_the_silent_gives_way() {
        let (mut listener, connect) = listener();
        let mut all: Vec<_> = (0..=WAITING).map(|_| connect()).collect();
        assert!(!listener.hear(false));
        assert_eq!(listener.waiting.len(), WAITING);
        all[0].set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        assert_eq!(io::Read::read(&mut all[0], &mut [0]).expect("the end"), 0);
    }

    #[test]
    fn bytes_that_are_no_message_are_heard_only_where_nobody_else_is() {
        let (mut listener, connect) = listener();
        let mut probe = connect();
        probe.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sending");
        assert!(!listener.hear(true));
        let mut probe = connect();
        probe.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sending");
        assert!(listener.hear(false));
    }

    #[test]
    fn beside_a_guest_all_are_turned_away() {
        let (mut listener, connect) = listener();
        let _first = connect();
        listener.hear(false);
        let _second = connect();
        assert_eq!(listener.turn_away(), 2);
    }
}
