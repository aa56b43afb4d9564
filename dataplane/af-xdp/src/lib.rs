//! AF_XDP sockets over libc: UMEM, the four rings, one socket per netdev queue.
//!
//! A [`Queue`] is one AF_XDP socket bound to one (netdev, queue) pair, with its four rings:
//!
//! ```text
//!            frames we own                              frames the kernel owns
//!   Fill        write addresses, submit   ->  the kernel receives into them
//!   Rx          peek, read, release       <-  received frames
//!   Tx          write frames, submit      ->  the kernel transmits them
//!   Completion  peek, read, release       <-  transmitted frames, ours again
//! ```
//!
//! Producer rings ([`Fill`], [`Tx`]) have `reserve`, `write`, `submit`; consumer rings ([`Rx`], [`Completion`]) have
//! `peek`, `read`, `release`. Descriptors are read and written in place and published once per burst. A queue is owned
//! by one thread; opening and closing belong to a control thread, because the kernel may make them wait.
//!
//! Opening: describe the memory ([`Umem`]), then [`Unbound::new`], put frames on [`Unbound::fill`], [`Unbound::bind`],
//! and only then insert the socket into the XSKMAP of the netdev's XDP program. The program is the caller's.
//!
//! Modules:
//! - `uapi`: kernel structs and constants; [`Desc`]
//! - `cursor`: the producer/consumer index pair of a ring, over atomics chosen in `primitive`
//! - `ring`: [`ProducerRing`] and [`ConsumerRing`] over shared memory; `kernel_rings` maps those of a socket
//! - `umem`, `config`: what to register and bind
//! - `open`, `socket`: [`Unbound`] becomes [`Queue`]; wake-ups and socket options
//! - `stats`: the kernel's drop counters
//! - [`tx_metadata`]: checksum requests below a frame
//! - [`testing`]: connected rings, so that a driver can be tested without a kernel
//! - `mmap`, `syscall`: one thin function per system call
//!
//! Unsafe code lives in `cursor`, `ring`, `kernel_rings`, `testing`, `umem`, `open`, `mmap` and `syscall`.
#![deny(unsafe_code)]

mod config;
mod cursor;
mod error;
mod kernel_rings;
mod mmap;
mod open;
mod primitive;
mod ring;
mod socket;
mod stats;
mod syscall;
pub mod testing;
pub mod tx_metadata;
mod uapi;
mod umem;

pub use config::{BusyPoll, Mode, SocketConfig};
pub use error::{OpenError, Step};
pub use open::Unbound;
pub use ring::{Completion, ConsumerRing, Fill, ProducerRing, Rx, Tx};
pub use socket::{Queue, Socket, Wakeup};
pub use stats::Statistics;
pub use uapi::{Desc, MAX_FRAGS, OPTION_CONTD, OPTION_TX_METADATA};
pub use umem::Umem;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
