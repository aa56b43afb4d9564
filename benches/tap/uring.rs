//! A ring as a worker would have it: one issuer, completions only when it enters the kernel.

use io_uring::squeue::Entry;
use io_uring::{IoUring, cqueue};
use std::os::fd::RawFd;

/// Submissions at a time.
pub const DEPTH: usize = 32;

/// A ring with one file at index 0.
pub fn ring(fds: &[RawFd], entries: u32) -> IoUring {
    let mut builder = IoUring::builder();
    builder.setup_single_issuer().setup_defer_taskrun().setup_taskrun_flag();
    let ring = builder.build(entries).expect("io_uring (kernel.io_uring_disabled is 0?)");
    ring.submitter().register_files(fds).expect("registered files");
    ring
}

/// Submits `entries` in one system call and hands each completion to `each`.
pub fn submit(ring: &mut IoUring, entries: &[Entry], mut each: impl FnMut(&cqueue::Entry)) {
    // SAFETY: what the entries point to outlives the call, in which they complete: RWF_NOWAIT, or a write.
    unsafe { ring.submission().push_multiple(entries).expect("room in the ring") };
    ring.submit_and_wait(entries.len()).expect("io_uring_enter");
    ring.completion().for_each(|entry| each(&entry));
}
