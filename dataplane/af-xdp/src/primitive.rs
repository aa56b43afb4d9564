//! The atomics the rings are built on: the machine's, or loom's when the crate's own tests run under `--cfg loom`.

#[cfg(not(all(loom, test)))]
pub(crate) use core::sync::atomic::{AtomicU32, Ordering};
#[cfg(all(loom, test))]
pub(crate) use loom::sync::atomic::{AtomicU32, Ordering};
