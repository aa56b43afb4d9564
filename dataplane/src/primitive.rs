//! The atomics, cells and reference counts of the lock-free parts: `core`'s in a build, loom's in a model check.
//!
//! `ring` and `switch::fdb` import these names from here and nowhere else, so that `RUSTFLAGS="--cfg loom" cargo test
//! -p dataplane --lib loom` explores every interleaving (and every stale value the memory model permits) of the same
//! source that runs in a worker. The condition is `all(test, loom)` because loom is a dev-dependency.

#[cfg(all(test, loom))]
pub(crate) use loom::{
    cell::UnsafeCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence},
    },
};

#[cfg(not(all(test, loom)))]
pub(crate) use self::core_cell::UnsafeCell;
#[cfg(not(all(test, loom)))]
pub(crate) use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::Arc;

#[cfg(not(all(test, loom)))]
mod core_cell {
    /// `core::cell::UnsafeCell` behind loom's closure interface, so that loom can watch each access begin and end.
    #[repr(transparent)]
    pub(crate) struct UnsafeCell<T>(core::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        #[inline]
        pub(crate) const fn new(value: T) -> Self {
            Self(core::cell::UnsafeCell::new(value))
        }

        /// A shared access: the caller's SAFETY line says why nobody writes meanwhile.
        #[inline]
        pub(crate) fn with<R>(&self, f: impl FnOnce(*const T) -> R) -> R {
            f(self.0.get())
        }

        /// An exclusive access: the caller's SAFETY line says why nobody else looks meanwhile.
        #[inline]
        pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
            f(self.0.get())
        }
    }
}
