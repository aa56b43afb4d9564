//! What one front end and this port have agreed on. The crate `vhost` reads the messages and calls the methods here; each
//! is idempotent, replaces what was said before, and leaves nothing behind when it fails.

use super::peer::Peer;
use super::rings::{Addresses, Event, RingState, invalid};
use super::{News, Shared, features, lock};
use crate::plan::Offer;
use dataplane::engine::VringHandle;
use dataplane::mem::{Mempool, MempoolCache};
use dataplane::pmd::vhost::{
    Call, Direction, DirtyLog, GuestMemory, Log, MemoryError, RegionSpec, Reply, VringCommand, ring,
};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight, VhostUserLog,
    VhostUserMemoryRegion, VhostUserShMemConfig, VhostUserSharedMsg, VhostUserSingleMemoryRegion,
    VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut, VhostUserProtocolFeatures};

/// The state of one connection.
#[derive(Debug)]
pub(super) struct Session {
    offer: Arc<Offer>,
    vrings: VringHandle,
    pool: Arc<Mempool>,
    status: Shared,
    peer: Peer,
    acked: u64,
    protocol: u64,
    device_status: u8,
    memory: Option<Arc<GuestMemory>>,
    dirty: Option<Arc<DirtyLog>>,
    rings: Vec<RingState>,
    active: Vec<bool>,
    was_up: bool,
    news: Vec<News>,
}

/// The port was removed while its front end spoke.
fn gone() -> Error {
    Error::ReqHandlerError(io::Error::new(io::ErrorKind::NotConnected, "the port is being removed"))
}

fn refused(what: impl ToString) -> Error {
    Error::ReqHandlerError(invalid(what))
}

impl Session {
    pub(super) fn new(
        offer: &Arc<Offer>,
        (vrings, pool): (&VringHandle, &Arc<Mempool>),
        status: &Shared,
        peer: Peer,
    ) -> Self {
        let pairs = usize::from(offer.pairs);
        let mut rings = Vec::new();
        rings.resize_with(2 * pairs, RingState::default);
        {
            let mut status = lock(status);
            status.connected = true;
            status.sessions += 1;
            status.offered = features::offered();
            (status.acked, status.protocol, status.memory, status.mtu) = (0, 0, 0, None);
            (status.rings, status.active) = (vec![None; 2 * pairs], vec![false; pairs]);
        }
        Self {
            offer: Arc::clone(offer),
            vrings: vrings.clone(),
            pool: Arc::clone(pool),
            status: Arc::clone(status),
            peer,
            acked: 0,
            protocol: 0,
            device_status: 0,
            memory: None,
            dirty: None,
            rings,
            active: vec![false; pairs],
            was_up: false,
            news: Vec::new(),
        }
    }

    /// What happened since the last call.
    pub(super) fn take_news(&mut self) -> Vec<News> {
        std::mem::take(&mut self.news)
    }

    /// Whether a message that asks for an answer gets one.
    pub(super) fn acknowledges(&self) -> bool {
        self.protocol & VhostUserProtocolFeatures::REPLY_ACK.bits() != 0
    }

    /// Whether a worker has a ring of it.
    pub(super) fn is_in_service(&self) -> bool {
        self.rings.iter().any(|ring| ring.running)
    }

    /// Whether frames have ever passed.
    pub(super) fn was_up(&self) -> bool {
        self.was_up
    }

    /// Takes every ring back; the front end is gone or to go.
    pub(super) fn end(&mut self) {
        // a port that is gone has no rings
        let _ = self.stop_all();
        (self.memory, self.dirty) = (None, None);
        self.note();
        lock(&self.status).connected = false;
    }

    fn apply(&self, index: usize, command: impl FnOnce(Direction) -> VringCommand) -> Result<Reply> {
        let (pair, direction) = Direction::of_vring(u16::try_from(index).map_err(refused)?);
        self.vrings.apply(pair, command(direction)).ok_or_else(gone)
    }

    fn ring(&mut self, index: u32) -> Result<(usize, &mut RingState)> {
        let rings = self.rings.len();
        let at = usize::try_from(index).ok().filter(|at| *at < rings);
        let at = at.ok_or_else(|| refused(format!("vring {index} of a port with {rings}; raise its `queues`")))?;
        Ok((at, &mut self.rings[at]))
    }

    /// A ring that is not with a worker: nothing else of it may change.
    fn stopped(&mut self, index: u32) -> Result<&mut RingState> {
        match self.ring(index)? {
            (_, ring) if ring.running => Err(refused(format!("vring {index} changed while it runs"))),
            (_, ring) => Ok(ring),
        }
    }

    /// Gives the ring to its worker if it can be.
    fn start(&mut self, at: usize) -> Result<()> {
        let Some(memory) = self.memory.as_ref().filter(|_| !self.rings[at].running) else { return Ok(()) };
        let vring = self.rings[at].vring(memory, self.acked);
        let vring = vring.map_err(|error| refused(format!("vring {at}: {error}")))?;
        if let Some(vring) = vring.map(|vring| vring.with_log(self.log(at))) {
            self.apply(at, |direction| VringCommand::Start(direction, Box::new(vring)))?;
            self.rings[at].running = true;
            self.note();
        }
        Ok(())
    }

    /// How writes of a ring are logged, if they are: during a migration.
    fn log(&self, at: usize) -> Option<Box<Log>> {
        let dirty = self.dirty.as_ref().filter(|_| self.acked & features::LOG_ALL != 0)?;
        self.memory.as_ref().map(|memory| self.rings[at].log(memory, self.acked, dirty))
    }

    /// What is logged of the rings that run has changed.
    fn log_anew(&self) -> Result<()> {
        let mut running = (0..self.rings.len()).filter(|at| self.rings[*at].running);
        running.try_for_each(|at| self.apply(at, |direction| VringCommand::Log(direction, self.log(at))).map(drop))
    }

    /// Takes the ring back from its worker.
    fn stop(&mut self, at: usize) -> Result<()> {
        self.stop_by(at, VringCommand::Stop)
    }

    fn stop_by(&mut self, at: usize, command: impl FnOnce(Direction) -> VringCommand) -> Result<()> {
        if std::mem::take(&mut self.rings[at].running) {
            let answer = self.apply(at, command)?;
            // the worker has no ring if the guest broke it
            self.rings[at].base = answer.base.unwrap_or(self.rings[at].base);
            self.note();
        }
        Ok(())
    }

    fn stop_all(&mut self) -> Result<()> {
        (0..self.rings.len()).try_for_each(|at| self.stop(at))
    }

    /// Writes down how things are, and makes news of what changed.
    fn note(&mut self) {
        let works = |ring: &RingState| ring.running && ring.enabled;
        let active: Vec<bool> = self.rings.chunks(2).map(|pair| pair.iter().all(works)).collect();
        let mut status = lock(&self.status);
        status.rings = self.rings.iter().map(|ring| ring.running.then_some(ring.num)).collect();
        status.active.clone_from(&active);
        drop(status);
        if active == self.active {
            return;
        }
        if !self.active.contains(&true) {
            self.was_up = true;
            self.news.push(News::Up);
        }
        self.news.push(News::Active(active.clone()));
        self.active = active;
    }

    /// SEND_RARP: the guest has moved here, and the switch is to learn it (vhost-user, "VHOST_USER_SEND_RARP"). The
    /// message has the guest's address in its low six bytes.
    pub(super) fn announce(&mut self, mac: u64) -> Result<()> {
        let mac: [u8; 6] = *mac.to_le_bytes().first_chunk().unwrap_or(&[0; 6]);
        let mut cache = MempoolCache::new(&self.pool);
        let Some(mbuf) = cache.alloc_from(&rarp(mac)) else { return Ok(()) };
        self.vrings.apply(0, VringCommand::Announce(mbuf)).ok_or_else(gone).map(drop)
    }

    /// NET_SET_MTU: what the front end tells its guest.
    pub(super) fn set_mtu(&mut self, mtu: u64) -> Result<()> {
        if mtu > u64::from(self.offer.mtu) {
            return Err(refused(format!(
                "an MTU of {mtu} on a port of {}; start the guest with `host_mtu={}`",
                self.offer.mtu, self.offer.mtu
            )));
        }
        lock(&self.status).mtu = Some(mtu);
        Ok(())
    }

    /// SET_STATUS: 0 resets the device (virtio 1.2 §2.1).
    pub(super) fn set_status(&mut self, status: u64) -> Result<()> {
        self.device_status = u8::try_from(status & 0xff).unwrap_or(0);
        if self.device_status == 0 { self.reset_device() } else { Ok(()) }
    }

    /// GET_STATUS.
    pub(super) fn device_status(&self) -> u64 {
        self.device_status.into()
    }
}

/// A reverse ARP request "who am I" from the guest, to everybody (RFC 903; `qemu_announce_self_create`, QEMU net/announce.c).
fn rarp(mac: [u8; 6]) -> Vec<u8> {
    let head = [&[0xff; 6][..], &mac, &[0x80, 0x35], &[0, 1, 8, 0, 6, 4, 0, 3]].concat();
    [&head[..], &mac, &[0; 4], &mac, &[0; 4], &[0; 18]].concat()
}

fn region(region: &VhostUserMemoryRegion, file: File) -> RegionSpec {
    RegionSpec {
        guest: region.guest_phys_addr,
        user: region.user_addr,
        len: region.memory_size,
        offset: region.mmap_offset,
        file: OwnedFd::from(file),
    }
}

impl VhostUserBackendReqHandlerMut for Session {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.reset_device()
    }

    fn reset_device(&mut self) -> Result<()> {
        self.stop_all()?;
        for ring in &mut self.rings {
            (ring.addresses, ring.kick, ring.enabled) = (None, None, false);
        }
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(features::offered())
    }

    fn set_features(&mut self, bits: u64) -> Result<()> {
        let unknown = bits & !features::offered();
        if unknown != 0 {
            return Err(refused(format!("features that were not offered: {unknown:#x}")));
        }
        let changed = (bits ^ self.acked) & !features::LOG_ALL != 0;
        if changed && self.rings.iter().any(|ring| ring.running) {
            return Err(refused("features changed while rings run"));
        }
        self.acked = bits;
        self.log_anew()?;
        if bits & features::PROTOCOL_FEATURES == 0 {
            // such a front end knows no SET_VRING_ENABLE
            self.rings.iter_mut().for_each(|ring| ring.enabled = true);
        }
        lock(&self.status).acked = bits;
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        table: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy: Option<bool>,
    ) -> Result<Option<Vec<u64>>> {
        let running: Vec<usize> = (0..self.rings.len()).filter(|at| self.rings[*at].running).collect();
        self.stop_all()?;
        // unmapped before the new one is mapped: a large guest fits once
        self.memory = None;
        if let Some(at) = table.iter().position(|region| self.peer.keeps_private(region.user_addr)) {
            return Err(refused(MemoryError::NotShared(at)));
        }
        let bytes = table.iter().map(|region| region.memory_size).fold(0, u64::saturating_add);
        let regions = table.iter().zip(files).map(|(r, file)| region(r, file)).collect();
        let memory = GuestMemory::map(regions).map_err(refused)?;
        self.memory = Some(Arc::new(memory));
        lock(&self.status).memory = bytes;
        running.into_iter().try_for_each(|at| self.start(at))?;
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        let size = u16::try_from(num).ok().filter(|n| (1..=ring::MAX_SIZE).contains(n));
        self.stopped(index)?.num = size.ok_or_else(|| refused(format!("vring {index} with {num} descriptors")))?;
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        flags: VhostUserVringAddrFlags,
        desc: u64,
        used: u64,
        avail: u64,
        log: u64,
    ) -> Result<()> {
        let log = flags.contains(VhostUserVringAddrFlags::VHOST_VRING_F_LOG).then_some(log);
        let addresses = Addresses { desc, avail, used, log };
        let (at, ring) = self.ring(index)?;
        let same = ring.addresses.is_some_and(|known| known.is_at(&addresses));
        if !(ring.running && same) {
            self.stopped(index)?.addresses = Some(addresses);
            return Ok(());
        }
        // a migration begins, or ends
        ring.addresses = Some(addresses);
        self.apply(at, |direction| VringCommand::Log(direction, self.log(at))).map(drop)
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        self.stopped(index)?.base = base;
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let (at, _) = self.ring(index)?;
        self.stop_by(at, VringCommand::Finish)?;
        let ring = &mut self.rings[at];
        (ring.kick, ring.call) = (None, None);
        Ok(VhostUserVringState::new(index, ring.base))
    }

    fn set_vring_kick(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let (at, _) = self.ring(index.into())?;
        let kick = Event::new(file).map_err(Error::ReqHandlerError)?;
        // a new descriptor for a ring that runs: it is started again with it
        self.stop(at)?;
        self.rings[at].kick = Some(kick);
        self.start(at)
    }

    fn set_vring_call(&mut self, index: u8, file: Option<File>) -> Result<()> {
        let (at, ring) = self.ring(index.into())?;
        let call = Event::new(file).map_err(Error::ReqHandlerError)?;
        let shared = call.share().and_then(|fd| fd.map(Call::new).transpose()).map_err(Error::ReqHandlerError)?;
        ring.call = Some(call);
        if ring.running {
            self.apply(at, |direction| VringCommand::Call(direction, shared))?;
        }
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, _file: Option<File>) -> Result<()> {
        // closed: whoever made a ring fail is told by the end of the connection
        self.ring(index.into()).map(drop)
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        Ok(features::protocol())
    }

    fn set_protocol_features(&mut self, bits: u64) -> Result<()> {
        let unknown = bits & !features::protocol().bits();
        if unknown != 0 {
            return Err(refused(format!("protocol features that were not offered: {unknown:#x}")));
        }
        self.protocol = bits;
        lock(&self.status).protocol = bits;
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.offer.pairs.into())
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        let (at, ring) = self.ring(index)?;
        ring.enabled = enable;
        if ring.running {
            self.apply(at, |direction| VringCommand::Enable(direction, enable))?;
        }
        self.note();
        Ok(())
    }

    fn get_config(&mut self, _: u32, _: u32, _: VhostUserConfigFlags) -> Result<Vec<u8>> {
        Err(refused("GET_CONFIG, which was not offered"))
    }

    fn set_config(&mut self, _: u32, _: &[u8], _: VhostUserConfigFlags) -> Result<()> {
        Err(refused("SET_CONFIG, which was not offered"))
    }

    fn set_gpu_socket(&mut self, _: GpuBackend) -> Result<()> {
        Err(refused("GPU_SET_SOCKET on a network port"))
    }

    fn get_shared_object(&mut self, _: VhostUserSharedMsg) -> Result<File> {
        Err(refused("GET_SHARED_OBJECT, which was not offered"))
    }

    fn get_inflight_fd(&mut self, _: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
        Err(refused("GET_INFLIGHT_FD, which was not offered"))
    }

    fn set_inflight_fd(&mut self, _: &VhostUserInflight, _: File) -> Result<()> {
        Err(refused("SET_INFLIGHT_FD, which was not offered"))
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        Err(refused("GET_MAX_MEM_SLOTS, which was not offered"))
    }

    fn add_mem_region(&mut self, _: &VhostUserSingleMemoryRegion, _: File, _: Option<bool>) -> Result<Option<u64>> {
        Err(refused("ADD_MEM_REG, which was not offered"))
    }

    fn remove_mem_region(&mut self, _: &VhostUserSingleMemoryRegion) -> Result<()> {
        Err(refused("REM_MEM_REG, which was not offered"))
    }

    fn set_device_state_fd(
        &mut self,
        _: VhostTransferStateDirection,
        _: VhostTransferStatePhase,
        _: File,
    ) -> Result<Option<File>> {
        Err(refused("SET_DEVICE_STATE_FD, which was not offered"))
    }

    fn check_device_state(&mut self) -> Result<()> {
        Err(refused("CHECK_DEVICE_STATE, which was not offered"))
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        Err(refused("GET_SHMEM_CONFIG, which was not offered"))
    }

    fn set_log_base(&mut self, log: &VhostUserLog, file: File) -> Result<()> {
        let dirty = DirtyLog::map(OwnedFd::from(file), log.mmap_size, log.mmap_offset);
        self.dirty = Some(Arc::new(dirty.map_err(|error| refused(format!("dirty log: {error}")))?));
        self.log_anew()
    }
}
