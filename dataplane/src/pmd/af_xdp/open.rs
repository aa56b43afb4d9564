//! Opening an AF_XDP port: program, sockets, fill rings, and the report of what was obtained. Control thread only.
//!
//! Order (traps in brackets): attach the program → per queue: register the arena, prefill, bind → insert into the
//! XSKMAP, so that no frame ever meets an empty fill ring; a frame on a queue without socket is dropped by the
//! program, never passed to the host's stack.

#![allow(unsafe_code)]

use super::program::{ProgramError, XdpProgram};
use super::{Abilities, AfXdp, MAX_DESCRIPTORS};
use crate::eth::{HEADER_LEN, TAG_LEN};
use crate::mem::{CHUNK_SIZE, FIRST_SEGMENT, Mempool, MempoolCache};
use af_xdp::{OpenError, SocketConfig, Umem, Unbound};
use std::io;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Which netdev to take frames from.
#[derive(Debug, Clone)]
pub struct XdpConfig {
    /// Its name, for messages.
    pub ifname: String,
    /// Its index in the network namespace of the calling thread.
    pub ifindex: u32,
    /// Its RX queues; all of them are covered.
    pub rx_queues: u16,
    /// Its TX queues.
    pub tx_queues: u16,
    /// Its driver, e.g. `veth`; decides whether partial checksums are to be expected.
    pub driver: String,
    /// Its layer-3 MTU: longer frames are dropped here, by name, not by the kernel in silence.
    pub mtu: u32,
    /// Frames each queue keeps in its fill ring, and entries of its TX ring; a power of two.
    pub depth: u32,
}

/// Why there is no port.
#[derive(Debug, thiserror::Error)]
pub enum XdpError {
    /// A socket bound to a queue without TX counterpart sends nothing and says nothing (net/xdp/xsk.c).
    #[error("{ifname} has {rx} rx but {tx} tx queues; `ethtool -L {ifname} combined {tx}`")]
    Queues {
        /// The netdev.
        ifname: String,
        /// RX queues.
        rx: u16,
        /// TX queues.
        tx: u16,
    },
    /// The XDP program could not be attached.
    #[error("{ifname}: {source}")]
    Program {
        /// The netdev.
        ifname: String,
        /// Why.
        source: ProgramError,
    },
    /// A socket could not be opened.
    #[error("{ifname} queue {queue}: {source}")]
    Socket {
        /// The netdev.
        ifname: String,
        /// The queue.
        queue: u16,
        /// Why.
        source: OpenError,
    },
    /// The pool has too few free frames to fill the ring.
    #[error("{ifname} queue {queue}: no frames left for its fill ring ({depth} needed); raise `memory.frames`")]
    NoFrames {
        /// The netdev.
        ifname: String,
        /// The queue.
        queue: u16,
        /// As in [`XdpConfig::depth`].
        depth: u32,
    },
    /// The kernel would not say what was obtained.
    #[error("{ifname}: {source}")]
    Io {
        /// The netdev.
        ifname: String,
        /// Why.
        source: io::Error,
    },
}

/// An open port: its queues for the workers, its program for control to keep.
#[derive(Debug)]
pub struct XdpPort {
    /// One per RX queue of the netdev.
    pub queues: Vec<AfXdp>,
    /// Attached as long as this lives; drop it after the queues are closed.
    pub program: XdpProgram,
    /// What was obtained, and why not more.
    pub mode: String,
}

/// Opens every queue of a netdev in the network namespace of the calling thread.
///
/// # Errors
/// [`XdpError`]; nothing stays behind.
pub fn open(config: &XdpConfig, pool: &Arc<Mempool>) -> Result<XdpPort, XdpError> {
    let ifname = || config.ifname.clone();
    if config.rx_queues > config.tx_queues {
        return Err(XdpError::Queues { ifname: ifname(), rx: config.rx_queues, tx: config.tx_queues });
    }
    let program = XdpProgram::attach(config.ifindex, config.rx_queues.into())
        .map_err(|source| XdpError::Program { ifname: ifname(), source })?;
    let mut mem = MempoolCache::new(pool);
    let mut port = XdpPort { queues: Vec::new(), program, mode: String::new() };
    for queue in 0..config.rx_queues {
        match open_queue(config, queue, &port.program, &mut mem) {
            Ok(queue) => port.queues.push(queue),
            Err(error) => {
                port.queues.drain(..).for_each(|queue| queue.close(&mut mem));
                return Err(error);
            }
        }
    }
    port.mode = report(&port);
    Ok(port)
}

fn open_queue(config: &XdpConfig, queue: u16, program: &XdpProgram, mem: &mut MempoolCache) -> Result<AfXdp, XdpError> {
    let ifname = || config.ifname.clone();
    let failed = |source| XdpError::Socket { ifname: ifname(), queue, source };
    let pool = Arc::clone(mem.pool());
    let mut socket = Unbound::new(&socket_config(config, queue), &umem(&pool)).map_err(failed)?;
    let mut owner = pool.new_owner();
    let filled = prefill((socket.fill(), config.depth), &mut owner, mem);
    let opened = if filled {
        socket.bind().map_err(failed)
    } else {
        Err(XdpError::NoFrames { ifname: ifname(), queue, depth: config.depth })
    };
    let abilities = match &opened {
        Ok(open) => abilities(config, program, open),
        Err(_) => Ok(Abilities { vlan_meta: false, rx_partial: false, tx_checksum: false }),
    };
    let inserted = opened.and_then(|open| {
        let abilities = abilities.map_err(|source| XdpError::Io { ifname: ifname(), source })?;
        program
            .insert(queue.into(), open.socket.as_fd())
            .map_err(|source| XdpError::Program { ifname: ifname(), source })?;
        Ok((open, abilities))
    });
    match inserted {
        Ok((queue, abilities)) => {
            let (max_frame, overhead) = (0, overhead(config));
            let max_descriptors = if is_jumbo(config) { MAX_DESCRIPTORS } else { 1 };
            let (depth, fill_deficit, in_flight, partial, fault) = (config.depth, 0, 0, None, None);
            let mut queue = AfXdp {
                queue,
                owner,
                abilities,
                max_frame,
                overhead,
                max_descriptors,
                depth,
                fill_deficit,
                in_flight,
                partial,
                fault,
            };
            queue.set_mtu(config.mtu);
            Ok(queue)
        }
        Err(error) => {
            pool.sweep(owner);
            Err(error)
        }
    }
}

/// Bytes that the kernel passes on above the MTU: a veth's peer takes one tag (is_skb_forwardable), a NIC two.
fn overhead(config: &XdpConfig) -> usize {
    let tags = if config.driver == "veth" { 1 } else { 2 };
    HEADER_LEN + tags * TAG_LEN
}

/// Whether frames of the device may take several descriptors (XDP_USE_SG). Asked for only where they do: some drivers have
/// zero-copy without it, and Linux has it since 6.6.
fn is_jumbo(config: &XdpConfig) -> bool {
    config.mtu as usize + overhead(config) > FIRST_SEGMENT
}

fn socket_config(config: &XdpConfig, queue: u16) -> SocketConfig {
    let mut socket = SocketConfig::new(config.ifindex, queue.into());
    (socket.rx_size, socket.fill_size) = (2 * config.depth, 2 * config.depth);
    (socket.tx_size, socket.completion_size) = (config.depth, config.depth);
    // Copy mode sends 32 frames per system call unless told otherwise (trap 6).
    socket.tx_budget = Some(config.depth);
    // A physical port in copy mode is held back by the default of 208 KiB (trap 18).
    socket.send_buffer = Some(16 << 20);
    socket.multi_buffer = is_jumbo(config);
    socket
}

fn umem(pool: &Arc<Mempool>) -> Umem {
    let arena = pool.arena();
    #[allow(clippy::cast_possible_truncation, reason = "2048")]
    let chunk = CHUNK_SIZE as u32;
    // SAFETY: A1 of arena.rs: mapped as long as the pool, which the queue's `Owner` holds and outlives the socket;
    // M1 of mempool.rs: a chunk lent to the kernel is reached by no token.
    unsafe { Umem::new(arena.base(), arena.len(), chunk) }.tx_metadata()
}

/// Lends the fill ring its frames; false if the pool is short of them.
fn prefill((fill, depth): (&mut af_xdp::Fill, u32), owner: &mut crate::mem::Owner, mem: &mut MempoolCache) -> bool {
    let room = fill.reserve(depth);
    for i in 0..room {
        let Some(mbuf) = mem.alloc() else { return false };
        let (lent, _) = owner.lend(mbuf);
        fill.write(i, lent.addr - lent.addr % CHUNK_SIZE as u64);
    }
    fill.submit(room);
    true
}

fn abilities(config: &XdpConfig, program: &XdpProgram, queue: &af_xdp::Queue) -> io::Result<Abilities> {
    Ok(Abilities {
        vlan_meta: program.vlan_meta(),
        rx_partial: config.driver == "veth" || program.mode() == "generic",
        // In copy mode the kernel completes the checksum whatever the driver can do (xsk_skb_metadata, then
        // validate_xmit_skb); in zero-copy mode it is the driver's word against ours.
        tx_checksum: !queue.socket.zero_copy()?,
    })
}

/// One line: what was obtained, and the reason for each better thing that was not.
fn report(port: &XdpPort) -> String {
    let mut parts = vec![port.program.mode().to_string()];
    let Some(first) = port.queues.first() else { return parts.remove(0) };
    parts.push(if first.abilities.tx_checksum { "copy" } else { "zero-copy" }.into());
    parts.push(if first.abilities.tx_checksum { "csum by tx metadata" } else { "csum in software" }.into());
    parts.push(if first.abilities.vlan_meta { "vlan by xdp hint" } else { "vlan inline" }.into());
    parts.push("tso in software".into());
    parts.push(format!("frames up to {} bytes", first.max_frame));
    parts.extend(first.queue.socket.report().iter().cloned());
    parts.extend(port.program.report().iter().cloned());
    parts.join(", ")
}
