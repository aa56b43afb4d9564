//! A running switch as the control thread sees it: plan, engine, ports, namespaces, journal.
//!
//! [`Switch::start`] makes everything in order and undoes it all if any step fails; [`Switch::stop`] removes it in the reverse
//! order. In between ports come and go one by one. Nothing here waits for the network: all calls return within
//! milliseconds, and workers never wait for them.

mod layer2;
mod link;
mod machines;
mod report;
mod stats;

use machines::Vm;
pub use machines::console;
pub use stats::Asked;
mod words;

use crate::config::document::Places;
use crate::config::{Hugepages, Poll, Port};
use crate::kernel::machine::Machine;
use crate::kernel::monitor::{LinkNews, Watch};
use crate::kernel::netlink::{Change, Netlink};
use crate::kernel::netns::{self, NetnsError};
use crate::live::journal::{EntryId, Journal, Resource};
use crate::live::ports::{self, Cables, OpenPort, PortBuilder, PortError};
use crate::live::vhost::News;
use crate::net::Netns;
use crate::plan::{self, DomainPlan, Plan, PortPlan};
use crate::problem::{Problem, Problems};
use dataplane::command::Event;
use dataplane::engine::{DomainSpec, Engine, EngineConfig, EngineError, StopReport};
use dataplane::mem::{Arena, ArenaConfig, Mempool};
use dataplane::port::DomainId;
use layer2::Events;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Instant;
use tokio::sync::mpsc::UnboundedSender;

/// A port and what became of it.
#[derive(Debug)]
struct LivePort {
    plan: PortPlan,
    state: PortState,
}

#[derive(Debug)]
enum PortState {
    Open(Box<OpenPort>),
    /// Taken down by something that happened to it.
    Failed(String),
}

/// A running switch.
#[derive(Debug)]
pub struct Switch {
    plan: Plan,
    machine: Machine,
    socket: PathBuf,
    engine: Engine,
    journal: Journal,
    domains: BTreeMap<String, DomainId>,
    ports: Vec<LivePort>,
    nodes: Vec<(String, u64, EntryId)>,
    machines: Vec<Vm>,
    cables: Cables,
    gone: UnboundedSender<LinkNews>,
    guests: UnboundedSender<(String, News)>,
    _watch: Watch,
    started: Instant,
    events: Events,
}

/// What a switch is started from.
#[derive(Debug)]
pub struct Start {
    /// What to make.
    pub plan: Plan,
    /// Where the parts of the file stand, for messages.
    pub places: Places,
    /// The file, for messages.
    pub file: String,
    /// The machine it was planned for.
    pub machine: Machine,
    /// Where the API listens.
    pub socket: PathBuf,
    /// The journal, open.
    pub journal: Journal,
    /// Where interfaces that go are reported.
    pub gone: UnboundedSender<LinkNews>,
    /// Where what happens to guests is reported.
    pub guests: UnboundedSender<(String, News)>,
}

impl Start {
    fn problem(&self, path: &str, error: impl Display) -> Problems {
        let problem = Problem { place: self.places.value(path), ..Problem::new(path, error.to_string(), "") };
        Problems::one(self.file.clone(), problem)
    }
}

impl Switch {
    /// Makes everything the plan says, or nothing.
    pub fn start(mut start: Start) -> Result<Self, Problems> {
        let plan = std::mem::replace(&mut start.plan, Plan::empty());
        let (engine, watch) = match foundation(&start, &plan) {
            Ok(made) => made,
            Err(problems) => {
                dismantle(&start.socket, start.journal);
                return Err(problems);
            }
        };
        let places = std::mem::take(&mut start.places);
        let file = std::mem::take(&mut start.file);
        let Start { machine, socket, journal, gone, guests, .. } = start;
        let mut switch = Self {
            plan: Plan { ports: Vec::new(), ..plan.clone() },
            machine,
            socket,
            engine,
            journal,
            domains: BTreeMap::new(),
            ports: Vec::new(),
            nodes: Vec::new(),
            machines: Vec::new(),
            cables: Cables::default(),
            gone,
            guests,
            _watch: watch,
            started: Instant::now(),
            events: Events::default(),
        };
        match switch.make_all(plan.ports) {
            Ok(()) => Ok(switch),
            Err((path, error)) => {
                switch.stop();
                let problem = Problem { place: places.value(&path), ..Problem::new(path, error, "") };
                Err(Problems::one(file, problem))
            }
        }
    }

    /// Domains, namespaces, ports; on an error its path and text.
    fn make_all(&mut self, ports: Vec<PortPlan>) -> Result<(), (String, String)> {
        for domain in self.plan.domains.clone() {
            let id = self.engine.add_domain(spec(&domain));
            let id = id.map_err(|error| (format!("domains.{}", domain.name), error.to_string()))?;
            self.domains.insert(domain.name, id);
        }
        for node in self.plan.nodes.clone() {
            self.make_node(&node).map_err(|error| (format!("nodes.{node}"), error.to_string()))?;
        }
        for port in ports {
            let path = format!("ports.{}", port.name);
            self.open(port).map_err(|error| (path, error.to_string()))?;
        }
        self.set_filters()?;
        self.set_mirrors().map_err(|error| ("mirrors".to_owned(), error.to_string()))?;
        for machine in self.plan.machines.clone() {
            let started = Vm::start(&self.plan, &machine);
            let what = "starting qemu-system-x86_64 (Debian: `apt install qemu-system-x86`)";
            let path = || format!("nodes.{}", machine.name);
            self.machines.push(started.map_err(|error| (path(), format!("{what}: {error}")))?);
        }
        self.started = Instant::now();
        Ok(())
    }

    fn make_node(&mut self, name: &str) -> Result<(), PortError> {
        let mut written = None;
        let journal = &mut self.journal;
        let made = netns::create::<PortError>(
            name,
            |number| {
                let thing = Resource::Netns { name: name.to_owned(), number };
                written = Some((number, journal.record(thing)?));
                Ok(())
            },
            init_netns,
        );
        let made = made.map_err(|error| match error {
            PortError::Netns(NetnsError::Taken(name)) => ports::node_taken(&name),
            other => other,
        });
        match (made, written) {
            (Ok(()), Some((number, ticket))) => self.nodes.push((name.to_owned(), number, ticket)),
            (Err(error), Some((_, ticket))) => {
                self.journal.erase(ticket);
                return Err(error);
            }
            (made, None) => return made,
        }
        Ok(())
    }

    fn builder(&mut self) -> PortBuilder<'_> {
        PortBuilder {
            engine: &mut self.engine,
            depth: self.plan.xdp_depth,
            journal: &mut self.journal,
            cables: &mut self.cables,
            switch: &self.plan.name,
            gone: &self.gone,
            guests: &self.guests,
        }
    }

    /// Opens a port that is planned.
    fn open(&mut self, plan: PortPlan) -> Result<(), PortError> {
        let domain = self.domains.get(&plan.domain).copied().unwrap_or(DomainId(u16::MAX));
        let open = ports::open(&mut self.builder(), &plan, domain)?;
        if let Err(error) = self.pin_fixed(&plan, domain, &open) {
            let _logged = ports::close(&mut self.builder(), &plan.name, open);
            return Err(error);
        }
        tracing::info!(port = plan.name, kind = %plan.kind(), domain = plan.domain, mode = open.mode, "port is up");
        self.plan.ports.push(plan.clone());
        self.ports.push(LivePort { plan, state: PortState::Open(Box::new(open)) });
        Ok(())
    }

    /// Adds a port to the running switch.
    pub fn add_port(&mut self, name: &str, port: &Port) -> Result<(), Problems> {
        // what interfaces there are changes; the cores do not, and this thread is not pinned
        self.machine = Machine::here();
        let plan = plan::add_port(&self.plan, name, port, &self.machine)?;
        let failed = |error: String| Problems::one("", Problem::new(format!("ports.{name}"), error, ""));
        self.open(plan).map_err(|error| failed(error.to_string()))?;
        self.set_mirrors().map_err(|error| failed(error.to_string()))
    }

    /// Removes a port; false if there is none of that name.
    ///
    /// # Errors
    /// When a worker is late: the port is gone from the list, and its queues are closed when the worker answers.
    pub fn remove_port(&mut self, name: &str) -> Result<bool, EngineError> {
        let Some(at) = self.ports.iter().position(|port| port.plan.name == name) else { return Ok(false) };
        let port = self.ports.remove(at);
        self.plan.ports.retain(|plan| plan.name != name);
        if let PortState::Open(open) = port.state {
            ports::close(&mut self.builder(), name, *open)?;
        }
        tracing::info!(port = name, "port is removed");
        Ok(true)
    }

    /// Takes a port down because of what happened to it; the others go on.
    fn fail(&mut self, at: usize, reason: &str) {
        let name = self.ports[at].plan.name.clone();
        let failed = PortState::Failed(reason.to_owned());
        if let PortState::Open(open) = std::mem::replace(&mut self.ports[at].state, failed) {
            tracing::error!(port = name, reason, "port failed and is taken down; the others go on");
            let _logged = ports::close(&mut self.builder(), &name, *open);
        }
    }

    fn fail_where(&mut self, reason: &str, hit: impl Fn(&PortPlan, &OpenPort) -> bool) {
        for at in 0..self.ports.len() {
            let port = &self.ports[at];
            if matches!(&port.state, PortState::Open(open) if hit(&port.plan, open)) {
                self.fail(at, reason);
            }
        }
    }

    /// A named namespace is gone.
    pub fn netns_gone(&mut self, name: &str) {
        let reason = format!("the namespace {name} was deleted");
        self.fail_where(&reason, |plan, _| match plan.interface() {
            Some((Netns::Node(node), _)) => node == name,
            Some((Netns::Named(netns), _)) => netns == name,
            _ => false,
        });
    }

    /// Something happened to a guest.
    pub fn guest_news(&mut self, port: &str, news: News) {
        // a port that was removed meanwhile has no news
        let Ok(id) = self.port_id(port) else { return };
        match news {
            News::Up => tracing::info!(port, "guest is up"),
            News::Active(pairs) => {
                if let Err(error) = self.engine.set_active(id, &pairs) {
                    tracing::error!(port, %error, "choosing queue pairs failed");
                }
            }
            News::Down(reason) => {
                tracing::warn!(port, reason, "guest is down");
                self.engine.forget_addresses(id);
            }
            News::Left(reason) => tracing::warn!(port, reason, "a front end has left"),
        }
    }

    /// What workers report.
    pub fn take_events(&mut self) {
        for event in self.engine.events() {
            match event {
                Event::PortFault { port, error } => {
                    let reason = format!("its interface failed: {error}");
                    self.fail_where(&reason, |_, open| open.id == Some(port));
                }
                Event::Notice(notice) => self.notice(notice),
            }
        }
    }

    /// Once a second.
    pub fn tick(&mut self) {
        self.engine.tick();
        self.look_at_taps();
        self.machines.iter_mut().for_each(Vm::look);
        let ended = |(file, number): &(PathBuf, u64)| netns::inode(file).ok() != Some(*number);
        self.fail_where("the process whose namespace its interface was given to has ended", |_, open| {
            open.namespace.as_ref().is_some_and(ended)
        });
    }

    /// Readable while there are events.
    pub fn event_fd(&self) -> std::io::Result<std::os::fd::OwnedFd> {
        self.engine.event_fd().try_clone_to_owned()
    }

    /// Removes everything, last made first; says whether every frame came home.
    pub fn stop(mut self) -> StopReport {
        self.machines.clear();
        while let Some(port) = self.ports.pop() {
            if let PortState::Open(open) = port.state {
                let _logged = ports::close(&mut self.builder(), &port.plan.name, *open);
            }
        }
        let Self { engine, mut nodes, mut journal, socket, .. } = self;
        let report = engine.stop();
        while let Some((name, number, ticket)) = nodes.pop() {
            netns::delete(&name, number);
            journal.erase(ticket);
        }
        dismantle(&socket, journal);
        report
    }
}

/// What every port stands on: memory, workers, and the watch over the host's interfaces.
fn foundation(start: &Start, plan: &Plan) -> Result<(Engine, Watch), Problems> {
    let watch = Watch::start(&Netns::Host, &start.gone).map_err(|error| start.problem("", error))?;
    let pool = Mempool::new(arena(plan).map_err(|error| start.problem("memory", error))?);
    let workers = plan.workers.iter().map(|worker| (worker.core, poll(worker.poll))).collect();
    let config = EngineConfig { workers, fdb_entries: plan.fdb_entries, pool };
    let engine = Engine::start(config).map_err(|error| start.problem("workers", error))?;
    Ok((engine, watch))
}

/// The last of what a switch made: its socket and its journal.
fn dismantle(socket: &Path, journal: Journal) {
    // it may be gone already: whoever removed it wanted just that
    let _ = std::fs::remove_file(socket);
    journal.finish();
}

fn arena(plan: &Plan) -> Result<Arena, dataplane::mem::ArenaError> {
    let hugepages = match plan.hugepages {
        Hugepages::Auto => dataplane::mem::Hugepages::Auto,
        Hugepages::Required => dataplane::mem::Hugepages::Required,
        Hugepages::Off => dataplane::mem::Hugepages::Off,
    };
    Arena::new(&ArenaConfig { frames: plan.frames, hugepages })
}

fn poll(poll: Poll) -> dataplane::idle::Poll {
    match poll {
        Poll::Adaptive => dataplane::idle::Poll::Adaptive,
        Poll::Economy => dataplane::idle::Poll::Economy,
        Poll::Busy => dataplane::idle::Poll::Busy,
    }
}

fn spec(domain: &DomainPlan) -> DomainSpec {
    DomainSpec { mtu: domain.mtu, policy: domain.policy.clone() }
}

/// What a new namespace needs: the loopback up, and addresses that work at once.
fn init_netns() -> Result<(), PortError> {
    let netlink = Netlink::open()?;
    if let Some(lo) = netlink.link("lo")? {
        netlink.set(lo.index, &Change { up: Some(true), ..Change::default() })?;
    }
    for which in ["all", "default"] {
        ports::without_dad(which);
    }
    Ok(())
}
