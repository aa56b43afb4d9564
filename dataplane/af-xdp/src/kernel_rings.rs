//! The four rings of a fresh socket, mapped.
//!
//! Source: Linux `Documentation/networking/af_xdp.rst`, and `xsk_mmap` in `net/xdp/xsk.c`.
#![allow(unsafe_code)]

use crate::config::SocketConfig;
use crate::cursor::Indices;
use crate::mmap::Mmap;
use crate::ring::{Completion, Fill, Layout, Memory, Rx, Tx};
use crate::uapi::Desc;
use std::io;
use std::os::fd::BorrowedFd;

/// Both halves that are ours of each direction.
#[derive(Debug)]
pub(crate) struct Rings {
    pub(crate) rx: Rx,
    pub(crate) tx: Tx,
    pub(crate) fill: Fill,
    pub(crate) completion: Completion,
}

/// `XDP_UMEM_PGOFF_FILL_RING` and its companion, as wide as the argument of `mmap`.
const FILL: libc::off_t = 0x1_0000_0000;
const COMPLETION: libc::off_t = 0x1_8000_0000;
const _: () = assert!(FILL as u64 == libc::XDP_UMEM_PGOFF_FILL_RING);
const _: () = assert!(COMPLETION as u64 == libc::XDP_UMEM_PGOFF_COMPLETION_RING);

impl Rings {
    /// Maps the rings.
    ///
    /// # Safety
    /// The rings of `fd` have the sizes in `config`, and are mapped here for the first and only time.
    pub(crate) unsafe fn map(
        fd: BorrowedFd<'_>,
        config: &SocketConfig,
        offsets: &libc::xdp_mmap_offsets,
    ) -> io::Result<Self> {
        let rx = map::<Desc>(fd, config.rx_size, libc::XDP_PGOFF_RX_RING, &offsets.rx)?;
        let tx = map::<Desc>(fd, config.tx_size, libc::XDP_PGOFF_TX_RING, &offsets.tx)?;
        let fill = map::<u64>(fd, config.fill_size, FILL, &offsets.fr)?;
        let completion = map::<u64>(fd, config.completion_size, COMPLETION, &offsets.cr)?;
        // SAFETY: layout and mapping belong together (`map`), the kernel made the slots (zeroed, integers only) and took
        // no size that is not a power of two; the only halves on our side by the caller's promise.
        unsafe {
            Ok(Rings {
                rx: Rx::new(&rx.0, Memory::Kernel(rx.1)),
                tx: Tx::new(&tx.0, Memory::Kernel(tx.1)),
                fill: Fill::new(&fill.0, Memory::Kernel(fill.1)),
                completion: Completion::new(&completion.0, Memory::Kernel(completion.1)),
            })
        }
    }
}

/// One ring of `size` entries, mapped, and where its parts lie.
fn map<T>(
    fd: BorrowedFd<'_>,
    size: u32,
    page_offset: libc::off_t,
    offsets: &libc::xdp_ring_offset,
) -> io::Result<(Layout<T>, Mmap)> {
    let outside = || io::Error::other("the kernel's ring offsets make no sense");
    let count = usize::try_from(size).map_err(io::Error::other)?;
    let start = usize::try_from(offsets.desc).map_err(io::Error::other)?;
    let bytes = count.checked_mul(size_of::<T>()).and_then(|b| b.checked_add(start)).ok_or_else(outside)?;
    let memory = Mmap::new(fd, bytes, page_offset)?;
    let layout = Layout {
        indices: Indices {
            producer: memory.at(offsets.producer, 1).ok_or_else(outside)?,
            consumer: memory.at(offsets.consumer, 1).ok_or_else(outside)?,
        },
        flags: memory.at(offsets.flags, 1).ok_or_else(outside)?,
        slots: memory.at(offsets.desc, count).ok_or_else(outside)?,
        size,
    };
    Ok((layout, memory))
}
