//! Pollux's data path: frames, memory, ports, switching, workers. Knows nothing of YAML, HTTP or netlink.
//!
//! # The path of a frame
//!
//! ```text
//! worker.rs          poll_queue: one burst of up to 32 frames of one queue
//!   pmd/*              rx_burst: descriptors of the kernel become Mbuf tokens
//!   switch/mod.rs      forward: pass 1, decide: parse, learn, look up → Verdict
//!                               pass 2, act: push to an egress lane | flood | free and count
//!   worker.rs          send_lanes: per port, tx_burst on a queue of mine
//!   mesh.rs                        or through a ring to the worker that owns one
//!   pmd/*              tx_burst: tokens become descriptors; flush: kick the kernel, free what it has sent
//! ```
//!
//! # The map
//!
//! - [`eth`], [`port`], [`stats`], [`lcore`]: leaves: headers, identifiers, counters and drop reasons, the core
//! - [`ring`], [`wake`]: the SPSC burst ring and the wakeup that cannot be lost
//! - [`mem`]: arena, mempool, mbuf, pipes, big tables
//! - [`offload`]: checksums, segmentation, virtio_net_hdr
//! - [`pmd`]: port drivers: AF_XDP, TAP, vhost-user, ring, null
//! - [`switch`]: verdicts (plain, bridged, macvlan), policies, VLAN tags, guards, snooping, FDB, domains, egress lanes
//! - `worker`, `mesh`, [`idle`], [`command`]: the poll loop, the rings between workers, waiting, messages
//! - [`engine`]: the control thread's half of all that
//!
//! Arrows: engine → worker → {pmd, switch} → {offload, mem} → leaves; `switch` and `pmd` never name each other
//! (`tests/layering.rs` reads the `use` lines).
//!
//! # Unsafe code
//!
//! Denied but in: `lcore.rs`, `ring.rs`, `mem/arena.rs`, `mem/mempool.rs`, `mem/mempool/cache.rs`, `mem/table.rs`, `pmd/tap/sys.rs`, `pmd/tap/watch.rs`,
//! `pmd/vhost/memory.rs`, `pmd/vhost/sigbus.rs`, `pmd/vhost/call.rs`, `pmd/vhost/call/aio.rs`,
//! `pmd/af_xdp/open.rs`, `pmd/af_xdp/program.rs`. Each names its invariants at the top. Reads and writes of the
//! AF_XDP rings are in the crate `af-xdp`.

#![deny(unsafe_code)]

pub mod command;
pub mod engine;
pub mod eth;
pub mod idle;
pub mod lcore;
pub mod mem;
mod mesh;
pub mod offload;
pub mod pmd;
pub mod port;
mod primitive;
pub mod ring;
pub mod stats;
pub mod switch;
pub mod wake;
mod worker;
