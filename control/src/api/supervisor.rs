//! The one control thread: waits for signals, the API, the clock, the kernel and the workers, and lets the switch act on
//! each in turn. Everything is removed before it returns, however it ends.

use crate::api::{self, Message};
use crate::config::document::Document;
use crate::failure::{FAILED, Failure, PERMISSION};
use crate::kernel::machine::Machine;
use crate::kernel::monitor::{LinkNews, NamesGone, readable};
use crate::live::journal::{self, Journal, Resource, StateError};
use crate::live::switch::{Start, Switch};
use crate::live::vhost::News;
use crate::plan::Plan;
use crate::problem::{Problem, Problems};
use crate::socket::missing_directories;
use crate::view::{Stopped, VERSION};
use std::future::{IntoFuture, pending};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;
use tokio::io::unix::AsyncFd;
use tokio::net::UnixListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};

/// Requests that may wait at once.
const BACKLOG: usize = 64;
/// How long answers under way may take at the end.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why a switch did not run, or not to a good end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Something in the file cannot be.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// The journal.
    #[error(transparent)]
    State(#[from] StateError),
    /// The socket.
    #[error("socket {path}: {error}")]
    Socket {
        /// Where.
        path: String,
        /// The answer.
        error: io::Error,
    },
    /// Another daemon's socket.
    #[error(
        "socket {path}: a daemon listens there already; give this one its own with `pollux lab up {file} --socket {DIRECTORY}/{name}.sock`, and later commands the same `--socket`, or POLLUX_SOCKET",
        DIRECTORY = journal::DIRECTORY
    )]
    Taken {
        /// Where.
        path: String,
        /// Our name.
        name: String,
        /// Our file.
        file: String,
    },
    /// The runtime.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Frames did not come home.
    #[error(
        "{missing} of {total} frames are missing at the end; this is a defect of pollux, please report it with the log"
    )]
    Lost {
        /// Frames lost.
        missing: u32,
        /// Frames there were.
        total: u32,
    },
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        let denied = |error: &io::Error| error.kind() == io::ErrorKind::PermissionDenied;
        let permission = match &error {
            RunError::State(StateError::File { error, .. }) | RunError::Socket { error, .. } | RunError::Io(error) => {
                denied(error)
            }
            _ => false,
        };
        Self { code: if permission { PERMISSION } else { FAILED }, text: error.to_string() }
    }
}

/// Runs a switch until it is told to stop. `places` are its socket, and its file as journals spell it. `ready` is called
/// once when every port is up; if it says no, nobody waits for the switch any more.
pub fn run(
    document: Document,
    plan: Plan,
    places: (&Path, &Path),
    ready: impl FnOnce(&Switch) -> bool,
) -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (mut loop_, switch, report) = begin(document, plan, places)?;
        let stopped = if ready(&switch) { loop_.turn(switch).await } else { Ended::of(switch, None) };
        loop_.end(stopped, report).await
    })
}

/// Takes the name and the socket, then starts the switch. Signals are caught from before anything is made.
fn begin(document: Document, plan: Plan, (socket, file): (&Path, &Path)) -> Result<(Loop, Switch, Serving), RunError> {
    let signals = Signals::catch()?;
    let mut journal = Journal::open(Path::new(journal::DIRECTORY), &plan.name, (socket, file))?;
    for cleaned in &journal.cleaned {
        tracing::warn!("removed what a dead predecessor left: {cleaned}");
    }
    let listener = match take_socket(socket, &mut journal) {
        Ok(listener) => listener,
        Err(error) => {
            journal.finish();
            return Err(match error {
                RunError::Socket { error, .. } if error.kind() == io::ErrorKind::AddrInUse => {
                    RunError::Taken { path: socket.display().to_string(), name: plan.name, file: document.file }
                }
                error => error,
            });
        }
    };
    let (gone, links) = unbounded_channel();
    let (news, guests) = unbounded_channel();
    let start = Start {
        plan,
        places: document.places,
        file: document.file,
        machine: Machine::here(),
        socket: socket.to_owned(),
        journal,
        gone,
        guests: news,
    };
    let switch = Switch::start(start)?;
    let (serving, messages) = Serving::start(listener);
    match Loop::new(signals, messages, (links, guests), &switch) {
        Ok(loop_) => Ok((loop_, switch, serving)),
        Err(error) => {
            switch.stop();
            Err(error.into())
        }
    }
}

fn take_socket(path: &Path, journal: &mut Journal) -> Result<UnixListener, RunError> {
    let fault = |error| RunError::Socket { path: path.display().to_string(), error };
    for path in missing_directories(path) {
        journal.record(Resource::Directory { path })?;
    }
    // listened on first: until it is ours there is nothing to write down
    let listener = api::listen(path).map_err(fault)?;
    journal.record(Resource::Socket { path: path.to_owned() })?;
    Ok(listener)
}

/// The API's server task.
struct Serving {
    task: JoinHandle<io::Result<()>>,
    quit: oneshot::Sender<()>,
}

impl Serving {
    fn start(listener: UnixListener) -> (Self, mpsc::Receiver<Message>) {
        let (sender, messages) = mpsc::channel(BACKLOG);
        let (quit, quitting) = oneshot::channel::<()>();
        let router = api::router(sender);
        let server = axum::serve(listener, router).with_graceful_shutdown(async {
            // both an order and a dropped sender mean the end
            let _ = quitting.await;
        });
        (Self { task: tokio::spawn(server.into_future()), quit }, messages)
    }
}

/// Signals that mean "stop and clean up".
struct Signals([Signal; 3]);

impl Signals {
    fn catch() -> io::Result<Self> {
        let of = |kind| signal(kind);
        Ok(Self([of(SignalKind::interrupt())?, of(SignalKind::terminate())?, of(SignalKind::hangup())?]))
    }

    async fn next(&mut self) -> &'static str {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
            _ = hangup.recv() => "SIGHUP",
        }
    }
}

/// What the control thread waits for.
struct Loop {
    signals: Signals,
    messages: mpsc::Receiver<Message>,
    links: UnboundedReceiver<LinkNews>,
    guests: UnboundedReceiver<(String, News)>,
    names: Option<NamesGone>,
    events: AsyncFd<OwnedFd>,
    clock: Interval,
}

/// How it ended: who is to be told, and the pool's balance.
struct Ended {
    total: u32,
    free: u32,
    asked_by: Option<oneshot::Sender<Stopped>>,
}

impl Ended {
    fn of(switch: Switch, asked_by: Option<oneshot::Sender<Stopped>>) -> Self {
        let report = switch.stop();
        Self { total: report.total, free: report.free, asked_by }
    }
}

impl Loop {
    fn new(
        signals: Signals,
        messages: mpsc::Receiver<Message>,
        (links, guests): (UnboundedReceiver<LinkNews>, UnboundedReceiver<(String, News)>),
        switch: &Switch,
    ) -> io::Result<Self> {
        let mut clock = interval(Duration::from_secs(1));
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let events = readable(switch.event_fd()?)?;
        Ok(Self { signals, messages, links, guests, names: NamesGone::start()?, events, clock })
    }

    /// Until something says stop.
    async fn turn(&mut self, mut switch: Switch) -> Ended {
        let asked_by = loop {
            tokio::select! {
                name = self.signals.next() => {
                    tracing::info!("{name}: stopping");
                    break None;
                }
                message = self.messages.recv() => match message {
                    Some(Message::Do(job)) => job(&mut switch),
                    Some(Message::Stop(answer)) => break Some(answer),
                    None => break None,
                },
                _ = self.clock.tick() => switch.tick(),
                Some(gone) = self.links.recv() => switch.link_news(&gone),
                Some((port, news)) = self.guests.recv() => switch.guest_news(&port, news),
                names = next_name(self.names.as_ref()) => names.iter().for_each(|name| switch.netns_gone(name)),
                ready = self.events.readable() => {
                    switch.take_events();
                    ready.into_iter().for_each(|mut ready| ready.clear_ready());
                }
            }
        };
        Ended::of(switch, asked_by)
    }

    /// Tells whoever asked, and ends the server.
    async fn end(self, ended: Ended, serving: Serving) -> Result<(), RunError> {
        let Ended { total, free, asked_by } = ended;
        if let Some(answer) = asked_by {
            // whoever asked may have gone
            let _ = answer.send(Stopped { v: VERSION, total, free });
        }
        drop(self);
        let _ = serving.quit.send(());
        // a client that does not read its answer does not keep us
        let _ = timeout(FAREWELL, serving.task).await;
        tracing::info!(total, free, "stopped; frames of the pool that came home");
        match total.saturating_sub(free) {
            0 => Ok(()),
            missing => Err(RunError::Lost { missing, total }),
        }
    }
}

/// An error of inotify ends the watching, not the switch.
async fn next_name(names: Option<&NamesGone>) -> Vec<String> {
    match names {
        Some(names) => match names.next().await {
            Ok(names) => names,
            Err(error) => {
                tracing::warn!(%error, "deleted namespaces are not noticed any more");
                pending().await
            }
        },
        None => pending().await,
    }
}

impl From<Problem> for RunError {
    fn from(problem: Problem) -> Self {
        Self::Problems(Problems::one("", problem))
    }
}
