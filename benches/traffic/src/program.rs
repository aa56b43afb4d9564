//! Attaches the XDP program that brings a station's frames to its socket, and stamps arrivals.

use crate::TrafficError;
use crate::programs::arrive::ArriveSkelBuilder;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

/// The program on one interface; detached on drop.
#[derive(Debug)]
pub(crate) struct Program {
    sockets: MapHandle,
    _link: Link,
}

impl Program {
    /// Attaches it to `ifindex` of this thread's namespace: native if the device can, else generic. `queues` RX queues.
    pub(crate) fn attach(ifindex: u32, queues: u32) -> Result<Self, TrafficError> {
        let failed = |what: &'static str| move |source| TrafficError::Program { what, ifindex, source };
        let mut object = MaybeUninit::uninit();
        let mut open = ArriveSkelBuilder::default().open(&mut object).map_err(failed("opening"))?;
        open.maps.sockets.set_max_entries(queues).map_err(failed("sizing"))?;
        let loaded = open.load().map_err(failed("loading"))?;
        let index = i32::try_from(ifindex).unwrap_or(i32::MAX);
        let link = loaded.progs.arrive.attach_xdp(index).map_err(failed("attaching"))?;
        let sockets = MapHandle::try_from(&loaded.maps.sockets).map_err(failed("keeping the map of"))?;
        Ok(Self { sockets, _link: link })
    }

    /// From now on the frames of RX queue `queue` go to `socket`.
    pub(crate) fn insert(&self, ifindex: u32, queue: u32, socket: BorrowedFd<'_>) -> Result<(), TrafficError> {
        let (key, value) = (queue.to_ne_bytes(), socket.as_raw_fd().to_ne_bytes());
        let done = self.sockets.update(&key, &value, MapFlags::ANY);
        done.map_err(|source| TrafficError::Program { what: "giving the socket to", ifindex, source })
    }
}
