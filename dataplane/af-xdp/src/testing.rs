//! Rings without a kernel: both halves in this process, the test plays the kernel.
//!
//! [`connected`] is one ring; [`queue`] is a whole [`Queue`] with the opposite four halves in a [`Kernel`]. Neither needs
//! privileges.
#![allow(unsafe_code)]

use crate::cursor::Indices;
use crate::primitive::AtomicU32;
use crate::ring::{ConsumerRing, Layout, Memory, ProducerRing};
use crate::socket::{Queue, Socket};
use crate::uapi::Desc;
use std::cell::UnsafeCell;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::ptr::NonNull;
use std::sync::Arc;

/// The memory of a connected ring. Two indices on lines of their own, as in the kernel's rings.
#[derive(Debug)]
pub(crate) struct Region<T> {
    producer: Padded,
    consumer: Padded,
    flags: Padded,
    slots: Box<[UnsafeCell<T>]>,
}

#[derive(Debug)]
#[repr(align(128))]
struct Padded(AtomicU32);

// SAFETY: the slots are the only part that is not an atomic, and the cursors hand each to one half at a time.
unsafe impl<T: Send> Sync for Region<T> {}

impl<T: Copy + Default> Region<T> {
    fn new(size: u32, first: u32) -> Arc<Self> {
        assert!(size.is_power_of_two(), "ring size {size} is not a power of two");
        Arc::new(Region {
            producer: Padded(AtomicU32::new(first)),
            consumer: Padded(AtomicU32::new(first)),
            flags: Padded(AtomicU32::new(0)),
            slots: (0..size).map(|_| UnsafeCell::new(T::default())).collect(),
        })
    }
}

impl<T> Region<T> {
    fn layout(&self, size: u32) -> Layout<T> {
        Layout {
            indices: Indices { producer: NonNull::from(&self.producer.0), consumer: NonNull::from(&self.consumer.0) },
            flags: NonNull::from(&self.flags.0),
            // UnsafeCell<T> has the layout of T, and grants writing through a shared reference
            slots: NonNull::from(&*self.slots).cast(),
            size,
        }
    }
}

/// The two halves of one ring of `size` entries.
///
/// # Panics
/// If `size` is not a power of two.
pub fn connected<T: Copy + Default>(size: u32) -> (ProducerRing<T>, ConsumerRing<T>) {
    connected_from(size, 0)
}

/// Like [`connected`], with indices that start at `first`: a test of long runs starts just below `u32::MAX`.
///
/// # Panics
/// If `size` is not a power of two.
pub fn connected_from<T: Copy + Default>(size: u32, first: u32) -> (ProducerRing<T>, ConsumerRing<T>) {
    let region = Region::new(size, first);
    let layout = region.layout(size);
    // SAFETY: the layout is the region's own, of `size` initialised slots, and this is the only producer made of it.
    let producer = unsafe { ProducerRing::new(&layout, Memory::Shared(region.clone())) };
    // SAFETY: as above, the only consumer; its entries are only ever written by the producer, as whole `T`s.
    let consumer = unsafe { ConsumerRing::new(&layout, Memory::Shared(region)) };
    (producer, consumer)
}

impl<T: Copy> ConsumerRing<T> {
    /// Raises or clears the flag that [`ProducerRing::needs_wakeup`] reads on the other half.
    pub fn set_needs_wakeup(&mut self, up: bool) {
        self.set_flag(up);
    }
}

/// The kernel's side of a [`queue`].
#[derive(Debug)]
pub struct Kernel {
    /// Received frames go in here.
    pub rx: ProducerRing<Desc>,
    /// Frames to transmit come out here.
    pub tx: ConsumerRing<Desc>,
    /// Empty frames to receive into come out here.
    pub fill: ConsumerRing<u64>,
    /// Transmitted frames go in here.
    pub completion: ProducerRing<u64>,
    kicks: UnixDatagram,
}

impl Kernel {
    /// How often the queue was kicked ([`Socket::wakeup_tx`]) since the last call.
    pub fn wakeups(&self) -> usize {
        let mut byte = [0];
        std::iter::from_fn(|| self.kicks.recv(&mut byte).ok()).count()
    }

    /// How often the queue kicked its fill ring ([`Socket::wakeup_rx`]) since the last call: each kick took
    /// a datagram out of a buffer that was full.
    pub fn rx_wakeups(&self) -> usize {
        std::iter::from_fn(|| self.kicks.send(&[]).ok()).count()
    }
}

/// A queue with four rings of `size` entries, and the kernel's side of it.
///
/// The socket is one end of a datagram pair: kicks arrive at [`Kernel::wakeups`], statistics and options are errors.
///
/// # Errors
/// If no socket pair can be made.
///
/// # Panics
/// If `size` is not a power of two.
pub fn queue(size: u32) -> io::Result<(Queue, Kernel)> {
    let (ours, kicks) = UnixDatagram::pair()?;
    kicks.set_nonblocking(true)?;
    let ((rx_in, rx), (tx, tx_out)) = (connected(size), connected(size));
    let ((fill, fill_out), (completion_in, completion)) = (connected(size), connected(size));
    let queue = Queue { rx, tx, fill, completion, socket: Socket::new(ours.into(), Vec::new()) };
    let kernel = Kernel { rx: rx_in, tx: tx_out, fill: fill_out, completion: completion_in, kicks };
    kernel.rx_wakeups();
    Ok((queue, kernel))
}

#[cfg(all(test, not(loom)))]
#[path = "testing_tests.rs"]
mod tests;
