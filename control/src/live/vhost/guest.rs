//! The thread of one vhost-user port: finds a front end, serves it until it goes or is sent away, finds the next.

use super::pace::Pace;
use super::peer::Peer;
use super::session::Session;
use super::socket::{FrontEnds, wait};
use super::wire::{self, Waiting};
use super::{News, Shared, Status, lock};
use crate::plan::Offer;
use dataplane::engine::VringHandle;
use dataplane::mem::Mempool;
use dataplane::pmd::vhost::{Reply, RingFaultEvents, VringCommand};
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use vhost::vhost_user::{BackendReqHandler, Error};

/// A message must be there as a whole within this time of its first byte.
const MESSAGE_TIME: Duration = Duration::from_secs(1);
/// Looks for the rest of a message this often.
const REST: Duration = Duration::from_millis(1);
/// When the machine is short of something it is tried again after this time.
const SHORTAGE: Duration = Duration::from_millis(100);
/// Messages taken at once; from then on one per [`REST`]. Setting up 16 queue pairs takes some 300.
const BUDGET: u32 = 2000;

/// A port's guest, present or awaited. Dropping it ends the thread; every ring is back with us then.
#[derive(Debug)]
pub struct Guest {
    status: Shared,
    vrings: VringHandle,
    pairs: u16,
    stop: Arc<EventFd>,
    stream: Current,
    thread: Option<JoinHandle<()>>,
}

/// The connection being served, so that a thread that is stuck in it can be freed.
type Current = Arc<Mutex<Option<UnixStream>>>;

/// What the thread works with.
struct Host {
    name: String,
    offer: Arc<Offer>,
    vrings: VringHandle,
    pool: Arc<Mempool>,
    fault_events: Arc<RingFaultEvents>,
    status: Shared,
    stop: Arc<EventFd>,
    stream: Current,
    tell: Box<dyn Fn(News) + Send>,
}

/// Why a front end was left.
enum Left {
    /// The port is being closed.
    Stopped,
    /// This happened.
    Because(String),
}

impl Guest {
    /// Takes the socket and awaits a front end. `tell` is called on the thread for everything that happens.
    ///
    /// # Errors
    /// When the socket cannot be taken, or the process is out of resources.
    pub fn start(
        name: &str,
        offer: &Offer,
        (vrings, pool): (VringHandle, &Arc<Mempool>),
        fault_events: Arc<RingFaultEvents>,
        tell: impl Fn(News) + Send + 'static,
    ) -> io::Result<Self> {
        let door = FrontEnds::open(offer)?;
        let stop = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        let (stop, status, stream) = (Arc::new(stop), Shared::default(), Current::default());
        let host = Host {
            name: name.to_owned(),
            offer: Arc::new(offer.clone()),
            vrings: vrings.clone(),
            pool: Arc::clone(pool),
            fault_events,
            status: Arc::clone(&status),
            stop: Arc::clone(&stop),
            stream: Arc::clone(&stream),
            tell: Box::new(tell),
        };
        let thread = thread::Builder::new().name(format!("pollux-{name}")).spawn(move || host.run(door))?;
        Ok(Self { status, vrings, pairs: offer.pairs, stop, stream, thread: Some(thread) })
    }

    /// How it is.
    #[must_use]
    pub fn status(&self) -> Status {
        lock(&self.status).clone()
    }

    /// How each queue pair is.
    #[must_use]
    pub fn report(&self) -> Vec<Reply> {
        (0..self.pairs).map_while(|pair| self.vrings.apply(pair, VringCommand::Report)).collect()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // EAGAIN cannot be: it is written once
        let _ = self.stop.write(1);
        if let Some(stream) = &*self.stream.lock().unwrap_or_else(PoisonError::into_inner) {
            // it may be closed already
            let _ = stream.shutdown(Shutdown::Both);
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of a vhost-user port panicked");
        }
    }
}

impl Host {
    fn run(self, mut door: FrontEnds) {
        let (mut pace, mut lines) = (Pace::new(256, Duration::from_millis(10)), Pace::new(10, Duration::from_secs(1)));
        loop {
            let left = match door.next(&self.offer, self.stop.as_fd()) {
                Ok(Some(stream)) => self.serve(&stream, (&mut door, &mut pace), &mut lines),
                Ok(None) => return,
                // out of memory, most likely
                Err(error) => self.rest(SHORTAGE, Left::Because(error.to_string())),
            };
            if matches!(self.rest(pace.spend(0), left), Left::Stopped) {
                return;
            }
        }
    }

    /// Waits for a while; `left`, or that the port is being closed.
    fn rest(&self, time: Duration, left: Left) -> Left {
        if time.is_zero() {
            return left;
        }
        match wait(&[self.stop.as_fd()], Some(time)) {
            Ok(ready) if ready[0] => return Left::Stopped,
            Ok(_) => {}
            Err(_) => thread::sleep(time),
        }
        left
    }

    /// One front end, from its first message to its last.
    fn serve(&self, stream: &UnixStream, (door, pace): (&mut FrontEnds, &mut Pace), lines: &mut Pace) -> Left {
        let session = Session::new(&self.offer, (&self.vrings, &self.pool), &self.status, Peer::of(stream));
        let session = Arc::new(Mutex::new(session));
        let left = self.connect(stream, (door, pace), &session);
        if let Left::Because(reason) = &left {
            lock(&self.status).last = Some(reason.clone());
        }
        // rings come back before the front end sees its connection closed
        locked(&session).end();
        self.pass_on(&session);
        // what was said of rings that are gone is of no concern to the next
        self.fault_events.take_all();
        if let Left::Because(reason) = &left {
            if locked(&session).was_up() {
                (self.tell)(News::Down(reason.clone()));
                pace.spend(1);
            } else if lines.allows_one() {
                (self.tell)(News::Left(reason.clone()));
            }
        }
        left
    }

    fn connect(
        &self,
        stream: &UnixStream,
        (door, pace): (&mut FrontEnds, &mut Pace),
        session: &Arc<Mutex<Session>>,
    ) -> Left {
        let (theirs, mine) = match (stream.try_clone(), stream.try_clone()) {
            (Ok(theirs), Ok(mine)) => (theirs, mine),
            (Err(error), _) | (_, Err(error)) => return Left::Because(error.to_string()),
        };
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = Some(mine);
        let mut handler = BackendReqHandler::from_stream(theirs, Arc::clone(session));
        let left = self.converse(stream, (door, pace), session, &mut handler);
        *self.stream.lock().unwrap_or_else(PoisonError::into_inner) = None;
        left
    }

    fn converse(
        &self,
        stream: &UnixStream,
        (door, pace): (&mut FrontEnds, &mut Pace),
        session: &Arc<Mutex<Session>>,
        handler: &mut BackendReqHandler<Mutex<Session>>,
    ) -> Left {
        let mut budget = BUDGET;
        let mut told = false;
        loop {
            let mut fds = vec![self.stop.as_fd(), self.fault_events.as_fd(), stream.as_fd()];
            let pause = door.knocks(&mut fds);
            let ready = match wait(&fds, pause) {
                Ok(ready) => ready,
                Err(error) => return Left::Because(error.to_string()),
            };
            if ready[0] {
                return Left::Stopped;
            }
            if let Some(event) = ready[1].then(|| self.fault_events.take_all()).and_then(|all| all.into_iter().next()) {
                return Left::Because(format!(
                    "the guest broke queue pair {} ({:?}): {}",
                    event.pair, event.direction, event.fault
                ));
            }
            if ready[2] {
                let done = self.message(stream, session, handler, &mut budget);
                if let Err(left) = done.and_then(|()| self.pass_on_paced(session, pace)) {
                    return left;
                }
            }
            if (pause.is_some() || ready[3..].contains(&true)) && self.gives_way(door, session, &mut told) {
                return Left::Because("another front end spoke before this one had a ring in service".to_owned());
            }
        }
    }

    /// A port has one guest. Others who knock are turned away, which is told once in the log; but a front end without a
    /// ring in service gives way to one that speaks.
    fn gives_way(&self, door: &mut FrontEnds, session: &Arc<Mutex<Session>>, told: &mut bool) -> bool {
        let Some(listener) = door.listener() else { return false };
        if !locked(session).is_in_service() {
            return listener.hear(true);
        }
        if listener.turn_away() > 0 && !std::mem::replace(told, true) {
            tracing::warn!(port = self.name, "a second front end was turned away: the port has one already");
        }
        false
    }

    /// Takes one message and answers it.
    fn message(
        &self,
        stream: &UnixStream,
        session: &Arc<Mutex<Session>>,
        handler: &mut BackendReqHandler<Mutex<Session>>,
        budget: &mut u32,
    ) -> Result<(), Left> {
        let because = |text: String| Err(Left::Because(text));
        match self.whole(stream) {
            Ok(Some(Waiting::Ours(ours))) => wire::answer(stream, ours, &mut locked(session)),
            Ok(Some(Waiting::Message)) => handler.handle_request(),
            Ok(Some(Waiting::End)) => return because("the front end has gone".to_owned()),
            Ok(Some(Waiting::Nothing | Waiting::Part)) => Ok(()),
            Ok(None) => return because("the front end sent half a message and then nothing".to_owned()),
            Err(error) => return because(format!("the front end sent {error}")),
        }
        .or_else(|error| because(in_words(error)))?;
        *budget = budget.saturating_sub(1);
        if *budget == 0 {
            // a flood: what it costs the machine is bounded, and the port can still be closed
            wait(&[self.stop.as_fd()], Some(REST)).map_err(|error| Left::Because(error.to_string()))?;
            *budget = 1;
        }
        Ok(())
    }

    /// Waits for the rest of a message; `None` if it does not come.
    fn whole(&self, stream: &UnixStream) -> io::Result<Option<Waiting>> {
        let end = Instant::now() + MESSAGE_TIME;
        loop {
            match wire::look(stream)? {
                Waiting::Part if Instant::now() > end => return Ok(None),
                Waiting::Part if wait(&[self.stop.as_fd()], Some(REST))?[0] => return Ok(Some(Waiting::Nothing)),
                Waiting::Part => {}
                waiting => return Ok(Some(waiting)),
            }
        }
    }

    /// How many news there were.
    fn pass_on(&self, session: &Arc<Mutex<Session>>) -> usize {
        let news = locked(session).take_news();
        news.into_iter().map(|news| (self.tell)(news)).count()
    }

    /// One that changes all the time what frames may pass is made to wait.
    fn pass_on_paced(&self, session: &Arc<Mutex<Session>>, pace: &mut Pace) -> Result<(), Left> {
        let pause = pace.spend(self.pass_on(session));
        match self.rest(pause, Left::Because(String::new())) {
            Left::Stopped => Err(Left::Stopped),
            Left::Because(_) => Ok(()),
        }
    }
}

fn locked(session: &Arc<Mutex<Session>>) -> std::sync::MutexGuard<'_, Session> {
    session.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the crate, or the session through it, says.
fn in_words(error: Error) -> String {
    match error {
        Error::ReqHandlerError(error) => format!("the front end was refused: {error}"),
        Error::Disconnected | Error::PartialMessage => "the front end has gone".to_owned(),
        Error::SocketBroken(error) | Error::SocketError(error) => format!("the connection broke: {error}"),
        error => format!("the front end sent what it should not: {error}"),
    }
}
