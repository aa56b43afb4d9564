//! Watching for what changes under us: interfaces (netlink) and named namespaces (inotify).
//!
//! A netlink socket sees the namespace it was made in and keeps it alive, so only the host's is watched by default, and
//! that of a foreign `af_xdp` device, whose socket keeps it alive anyway. Our end of a veth pair is on the host; a TAP
//! reports its own end through the engine.

use crate::kernel::netns::{self, NetnsError};
use crate::net::Netns;
use futures::StreamExt;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::RouteNetlinkMessage;
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags};
use rtnetlink::{MulticastGroup, new_multicast_connection};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

/// What became of an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkNews {
    /// Where it is.
    pub place: Netns,
    /// Its index.
    pub index: u32,
    /// What it is now.
    pub link: LinkState,
}

/// An interface as the kernel says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// It was deleted.
    Gone,
    /// It is there.
    There {
        /// Set up, and with a carrier: somebody is at the other end.
        up: bool,
        /// Its MTU.
        mtu: u32,
    },
}

/// A namespace being watched; ends when dropped.
#[derive(Debug)]
pub struct Watch(Vec<JoinHandle<()>>);

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}

impl Watch {
    /// Watches `place`. Called on the control thread, inside its runtime.
    pub fn start(place: &Netns, gone: &UnboundedSender<LinkNews>) -> Result<Self, NetnsError> {
        let runtime = tokio::runtime::Handle::current();
        let opened = netns::inside(place, || {
            let _of_the_control_thread = runtime.enter();
            new_multicast_connection(&[MulticastGroup::Link])
        })?;
        let watching = |error| NetnsError::System { step: format!("watching {place}"), error };
        let (connection, _, mut messages) = opened.map_err(watching)?;
        let (gone, place) = (gone.clone(), place.clone());
        let reader = async move {
            while let Some((message, _)) = messages.next().await {
                if let Some((index, link)) = news(&message) {
                    // the receiver lives as long as the supervisor, which aborts us before
                    let _ = gone.send(LinkNews { place: place.clone(), index, link });
                }
            }
        };
        Ok(Self(vec![tokio::spawn(connection), tokio::spawn(reader)]))
    }
}

fn news(message: &NetlinkMessage<RouteNetlinkMessage>) -> Option<(u32, LinkState)> {
    if let Some(index) = removed(message) {
        return Some((index, LinkState::Gone));
    }
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) = &message.payload else { return None };
    let mtu = link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Mtu(mtu) => Some(*mtu),
        _ => None,
    })?;
    let up = link.header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp);
    Some((link.header.index, LinkState::There { up, mtu }))
}

/// The index of an interface that was removed; one that only moved to another namespace is still ours.
fn removed(message: &NetlinkMessage<RouteNetlinkMessage>) -> Option<u32> {
    let NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) = &message.payload else { return None };
    let moved =
        |attribute: &LinkAttribute| matches!(attribute, LinkAttribute::NewNetnsId(_) | LinkAttribute::NewIfIndex(_));
    // a port leaving a bridge is told by DelLink of the bridge family too
    let whole = link.header.interface_family == rtnetlink::packet_route::AddressFamily::Unspec;
    (whole && !link.attributes.iter().any(moved)).then_some(link.header.index)
}

/// Names of namespaces that are deleted.
#[derive(Debug)]
pub struct NamesGone(AsyncFd<Names>);

/// The inotify instance; tokio asks for a raw descriptor.
#[derive(Debug)]
struct Names(Inotify);

impl AsRawFd for Names {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

impl NamesGone {
    /// Watches `/run/netns`; `None` if there is no such directory, hence no name in it.
    pub fn start() -> io::Result<Option<Self>> {
        if !std::path::Path::new(netns::DIRECTORY).exists() {
            return Ok(None);
        }
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(netns::DIRECTORY, AddWatchFlags::IN_DELETE)?;
        Ok(Some(Self(readable(Names(inotify))?)))
    }

    /// Waits for the next.
    pub async fn next(&self) -> io::Result<Vec<String>> {
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|inotify| inotify.get_ref().0.read_events().map_err(io::Error::from));
            if let Ok(events) = read {
                let name =
                    |event: nix::sys::inotify::InotifyEvent| event.name.map(|name| name.to_string_lossy().into_owned());
                return Ok(events?.into_iter().filter_map(name).collect());
            }
        }
    }
}

/// A descriptor the control thread can wait for.
#[allow(
    deprecated,
    reason = "its successor `register` is unsafe: the descriptor must stay open while it is registered, and all that is passed here owns its own"
)]
pub(crate) fn readable<T: AsRawFd>(owner: T) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(owner, tokio::io::Interest::READABLE)
}
