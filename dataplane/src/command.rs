//! Messages between the control thread and the workers. Ownership of ports moves by value in them; no lock is shared.

use crate::pmd::vhost::{ReplySender, VringCommand};
use crate::pmd::{Pmd, QueueReport};
use crate::port::{DomainId, PortId};
use crate::switch::policy::Mirror;
use crate::switch::probe::{Probe, Returned};
use crate::switch::snoop::{Heard, Mdb};
use crate::switch::{Domain, Member, Notice};
use crate::wake::Wakeup;
use crossbeam::channel::Sender;
use crossbeam::queue::{ArrayQueue, SegQueue};
use std::io;
use std::sync::Arc;

/// Control to worker.
#[derive(Debug)]
pub(crate) enum Command {
    /// Add or change a domain.
    PutDomain(DomainId, Domain),
    /// Forget a domain.
    DropDomain(DomainId),
    /// A queue of a port is this worker's from now on. Not polled before [`Command::Poll`].
    Attach(PortId, Pmd),
    /// Every worker knows the port: its queues are polled from now on.
    Poll(PortId),
    /// A port is in a domain; frames for it go to worker `owner`, which may be this one.
    PutPort { port: PortId, member: Member, owner: usize },
    /// A port has another policy, or is blocked or open again; its queues stay where they are.
    ChangePort(PortId, Member),
    /// What a domain knows of multicast groups.
    PutMdb(DomainId, Arc<Mdb>),
    /// Send a loop probe out of a port.
    Probe(PortId, Probe),
    /// Forget which addresses of a domain moved, and hold none of them any longer.
    ForgetMoves(DomainId),
    /// These mirrors and no others.
    PutMirrors(Vec<Mirror>),
    /// The device of a port has another MTU.
    SetMtu(PortId, u32),
    /// Nothing may go to the port or come from it any more.
    DropPort(PortId),
    /// Say what the queues of a port hold and lost; there is room for all answers.
    Report(PortId, Sender<(PortId, QueueReport)>),
    /// Hand back the queues of a port.
    Detach(PortId, Sender<Vec<Pmd>>),
    /// An order for one queue pair of a vhost-user port.
    Vhost { port: PortId, pair: u16, command: VringCommand, reply: ReplySender },
    /// Answer once every frame that other workers had sent before has been dealt with.
    Sync(Sender<()>),
    /// Leave the loop and hand back everything.
    Stop,
}

/// Worker to control.
#[derive(Debug)]
pub enum Event {
    /// A queue of the port failed for good: its netdev is gone. The port stays attached until it is removed.
    PortFault {
        /// The port.
        port: PortId,
        /// What the kernel said.
        error: io::Error,
    },
    /// What the switch has to tell.
    Notice(Notice),
}

/// What a command replaced in a worker. Control frees it: a table of groups or addresses is thousands of allocations,
/// milliseconds in which a worker would take no frame.
#[derive(Debug)]
#[allow(dead_code, reason = "carried to be dropped where it arrives")]
pub(crate) enum Spent {
    Domain(Domain),
    Member(Member),
    Mdb(Arc<Mdb>),
    Mirrors(Vec<Mirror>),
}

/// Where a worker finds its commands. Lock-free; posting wakes the worker.
#[derive(Debug)]
pub(crate) struct Mailbox {
    queue: SegQueue<Command>,
    pub(crate) wakeup: Arc<Wakeup>,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { queue: SegQueue::new(), wakeup: Arc::new(Wakeup::new()?) })
    }

    pub(crate) fn post(&self, command: Command) {
        self.queue.push(command);
        self.wakeup.wake();
    }

    pub(crate) fn take(&self) -> Option<Command> {
        self.queue.pop()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }
}

/// Membership messages that wait for control.
const HEARD: usize = 8192;
/// Loop probes that wait for control. A worker reports one per port and second.
const RETURNED: usize = 4096;

/// Where control finds events of all workers; `bell` is readable while there are any.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: SegQueue<Event>,
    heard: ArrayQueue<Heard>,
    returned: ArrayQueue<Returned>,
    spent: SegQueue<Spent>,
    pub(crate) bell: nix::sys::eventfd::EventFd,
}

impl Outbox {
    pub(crate) fn new() -> io::Result<Self> {
        use nix::sys::eventfd::{EfdFlags, EventFd};
        let bell = EventFd::from_value_and_flags(0, EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?;
        Ok(Self {
            queue: SegQueue::new(),
            heard: ArrayQueue::new(HEARD),
            returned: ArrayQueue::new(RETURNED),
            spent: SegQueue::new(),
            bell,
        })
    }

    pub(crate) fn post(&self, event: Event) {
        self.queue.push(event);
        // A full counter (EAGAIN) is readable too.
        let _ = self.bell.write(1);
    }

    /// Passes a membership message on; one that finds no room is lost, and said again by its host.
    pub(crate) fn hear(&self, heard: Heard) {
        if self.heard.push(heard).is_ok() {
            let _ = self.bell.write(1);
        }
    }

    /// All membership messages; to be called after [`Outbox::take_all`], which quiets the bell.
    pub(crate) fn take_heard(&self) -> impl Iterator<Item = Heard> + '_ {
        std::iter::from_fn(|| self.heard.pop())
    }

    /// Sends home what a command replaced, if it did. Does not ring: control frees it when it looks next.
    pub(crate) fn spend(&self, spent: Option<Spent>) {
        if let Some(spent) = spent {
            self.spent.push(spent);
        }
    }

    /// Frees what workers sent home; how much that was.
    pub(crate) fn free_spent(&self) -> usize {
        std::iter::from_fn(|| self.spent.pop()).count()
    }

    /// Passes on that a probe came home; one that finds no room is lost, and the next probe takes its place.
    pub(crate) fn report_loop(&self, returned: Returned) {
        if self.returned.push(returned).is_ok() {
            let _ = self.bell.write(1);
        }
    }

    /// All probes that came home; to be called after [`Outbox::take_all`], which quiets the bell.
    pub(crate) fn take_returned(&self) -> impl Iterator<Item = Returned> + '_ {
        std::iter::from_fn(|| self.returned.pop())
    }

    pub(crate) fn take_all(&self) -> Vec<Event> {
        // Emptied first: an event posted from here on rings again.
        let _ = self.bell.read();
        std::iter::from_fn(|| self.queue.pop()).collect()
    }
}
