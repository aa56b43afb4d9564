#![allow(unsafe_code)]
//! A big, zeroed, shared table: the FDB's entries, on huge pages where there are any.
//!
//! A look-up in a table of a million entries touches a random cache line; on 4 KiB pages it also misses the TLB. So a
//! table of at least one huge page tries hugetlb first (crate `hugepage-rs`; populated here, so that a missing page is an
//! error now and not a SIGBUS under traffic), then normal memory with MADV_HUGEPAGE.
//!
//! Owner: its creator; shared by reference. It never grows and never moves.
//!
//! Invariants:
//! - I1: `base` points to `len` initialised elements (all-zero bytes are a valid `T`: the `Zeroed` bound), aligned for
//!   `T`.
//! - I2: `layout` and `backing` are the ones `base` was allocated with.

use crate::primitive::{AtomicU32, AtomicU64};
use core::ops::Deref;

/// What a table's memory is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backing {
    /// Pages of the hugetlb pool.
    Hugetlb,
    /// Memory of the process; large tables with MADV_HUGEPAGE.
    Normal,
}

/// Words per [`Line`]: eight fill a cache line; a model check takes two, so that every interleaving can be visited.
pub const WORDS_PER_LINE: usize = if cfg!(all(test, loom)) { 2 } else { 8 };

/// A cache line of atomic words.
#[derive(Debug, Default)]
#[repr(C, align(64))]
pub struct Line(pub [AtomicU64; WORDS_PER_LINE]);

/// Types for which all-zero bytes are a value.
///
/// # Safety
/// Only for types that are valid when every byte is zero, and that need no drop.
pub unsafe trait Zeroed: Default {}

// SAFETY: an atomic integer has the representation of its integer.
unsafe impl Zeroed for AtomicU32 {}
// SAFETY: an array of atomic integers, as above.
unsafe impl Zeroed for Line {}

/// A fixed number of zeroed elements.
#[derive(Debug)]
pub struct Table<T: Zeroed> {
    elements: Elements<T>,
}

impl<T: Zeroed> Table<T> {
    /// A table of `len` zeroed elements.
    ///
    /// # Panics
    /// If `len` is 0 or the size overflows.
    #[must_use]
    pub fn zeroed(len: usize) -> Self {
        assert!(len > 0, "table: a table needs at least one element");
        Self { elements: Elements::zeroed(len) }
    }

    /// What the memory is made of.
    #[must_use]
    pub fn backing(&self) -> Backing {
        self.elements.backing()
    }

    /// Prefetches the cache line of element `index`; an index out of range is ignored.
    #[inline]
    pub fn prefetch(&self, index: usize) {
        #[cfg(target_arch = "x86_64")]
        if let Some(element) = self.get(index) {
            use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            // SAFETY: a prefetch has no architectural effect, whatever the address.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(core::ptr::from_ref(element).cast()) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = index;
    }
}

impl<T: Zeroed> Deref for Table<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        self.elements.as_slice()
    }
}

#[cfg(all(test, loom))]
use self::loom_elements::Elements;
#[cfg(not(all(test, loom)))]
use self::pages::Elements;

#[cfg(not(all(test, loom)))]
mod pages {
    use super::{Backing, Zeroed};
    use core::ptr::NonNull;
    use std::alloc::{Layout, alloc, alloc_zeroed, dealloc, handle_alloc_error};

    /// Tables below this stay off huge pages: most of the page would be waste.
    const HUGE: usize = 2 << 20;

    #[derive(Debug)]
    pub(super) struct Elements<T> {
        base: NonNull<T>,
        len: usize,
        layout: Layout,
        backing: Backing,
    }

    // SAFETY: `Elements` owns its memory as a `Box<[T]>` does.
    unsafe impl<T: Send> Send for Elements<T> {}
    // SAFETY: as for `Send`; a shared reference only hands out `&[T]`.
    unsafe impl<T: Sync> Sync for Elements<T> {}

    impl<T: Zeroed> Elements<T> {
        pub(super) fn zeroed(len: usize) -> Self {
            let layout = Layout::array::<T>(len).expect("table: size overflows");
            let (base, layout, backing) = match hugetlb(layout) {
                Some(base) => (base, layout, Backing::Hugetlb),
                None => {
                    let (base, layout) = normal(layout);
                    (base, layout, Backing::Normal)
                }
            };
            Self { base: base.cast(), len, layout, backing }
        }

        pub(super) fn backing(&self) -> Backing {
            self.backing
        }

        #[inline]
        pub(super) fn as_slice(&self) -> &[T] {
            // SAFETY: I1; there is no way to get a mutable reference.
            unsafe { core::slice::from_raw_parts(self.base.as_ptr(), self.len) }
        }
    }

    impl<T> Drop for Elements<T> {
        fn drop(&mut self) {
            let base = self.base.as_ptr().cast();
            match self.backing {
                // SAFETY: I2; `Zeroed` elements need no drop.
                Backing::Hugetlb => unsafe { hugepage_rs::dealloc(base, self.layout) },
                // SAFETY: I2; `Zeroed` elements need no drop.
                Backing::Normal => unsafe { dealloc(base, self.layout) },
            }
        }
    }

    /// Zeroed, populated pages of the hugetlb pool; `None` when there are not enough (or the kernel has no such thing).
    fn hugetlb(layout: Layout) -> Option<NonNull<u8>> {
        if layout.size() < HUGE || !kernel_has_hugetlb() {
            return None;
        }
        // SAFETY: the size is not zero. Fresh anonymous pages are zeroed.
        let base = NonNull::new(unsafe { hugepage_rs::alloc(layout) })?;
        // SAFETY: the range is the mapping made above. A reservation may fail to turn into pages (cgroup, NUMA policy):
        // populating says so with an error where the first touch would be SIGBUS.
        let rc = unsafe { libc::madvise(base.as_ptr().cast(), layout.size(), libc::MADV_POPULATE_WRITE) };
        if rc != 0 {
            // SAFETY: allocated above with this layout.
            unsafe { hugepage_rs::dealloc(base.as_ptr(), layout) };
            return None;
        }
        Some(base)
    }

    /// `hugepage_rs` panics on a kernel without this line.
    fn kernel_has_hugetlb() -> bool {
        std::fs::read_to_string("/proc/meminfo").is_ok_and(|text| text.contains("Hugepagesize:"))
    }

    /// Zeroed memory of the process, and the layout to free it with.
    fn normal(layout: Layout) -> (NonNull<u8>, Layout) {
        if layout.size() < HUGE {
            // SAFETY: the size is not zero.
            return (non_null(unsafe { alloc_zeroed(layout) }, layout), layout);
        }
        let layout = layout.align_to(HUGE).expect("table: size overflows");
        // SAFETY: the size is not zero.
        let base = non_null(unsafe { alloc(layout) }, layout);
        // A hint: without transparent huge pages the table works on small ones. It comes before the first touch, which
        // is why the memory is zeroed here and not by the allocator.
        // SAFETY: the range was allocated above.
        unsafe { libc::madvise(base.as_ptr().cast(), layout.size(), libc::MADV_HUGEPAGE) };
        // SAFETY: as above.
        unsafe { base.write_bytes(0, layout.size()) };
        (base, layout)
    }

    fn non_null(base: *mut u8, layout: Layout) -> NonNull<u8> {
        NonNull::new(base).unwrap_or_else(|| handle_alloc_error(layout))
    }
}

/// loom's atomics are objects of its runtime, not plain memory.
#[cfg(all(test, loom))]
mod loom_elements {
    use super::{Backing, Zeroed};

    #[derive(Debug)]
    pub(super) struct Elements<T>(Box<[T]>);

    impl<T: Zeroed> Elements<T> {
        pub(super) fn zeroed(len: usize) -> Self {
            Self((0..len).map(|_| T::default()).collect())
        }

        pub(super) fn backing(&self) -> Backing {
            Backing::Normal
        }

        pub(super) fn as_slice(&self) -> &[T] {
            &self.0
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{AtomicU32, Backing, Line, Table};
    use crate::primitive::Ordering;

    #[test]
    fn starts_zeroed_and_aligned_and_keeps_what_is_stored() {
        for lines in [1, 63, 1 << 15, (1 << 15) + 1] {
            let table = Table::<Line>::zeroed(lines);
            assert_eq!(table.len(), lines);
            assert_eq!(table.as_ptr().addr() % 64, 0);
            assert!(table.iter().all(|line| line.0.iter().all(|word| word.load(Ordering::Relaxed) == 0)));
            table[lines - 1].0[7].store(7, Ordering::Relaxed);
            assert_eq!(table[lines - 1].0[7].load(Ordering::Relaxed), 7);
            table.prefetch(lines - 1);
            table.prefetch(lines);
        }
    }

    #[test]
    fn a_small_table_takes_no_huge_page() {
        assert_eq!(Table::<AtomicU32>::zeroed(16).backing(), Backing::Normal);
    }
}
