//! System calls of any process, counted in the kernel.
//!
//! While there is a [`Syscalls`], every system call of the machine takes some nanoseconds longer: count beside what is
//! measured, not within.

use crate::TrafficError;
use crate::programs::calls::CallsSkelBuilder;
use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle};
use std::mem::MaybeUninit;
use std::os::unix::fs::MetadataExt;

/// A count that goes on until it is dropped.
#[derive(Debug)]
pub struct Syscalls {
    pid: u32,
    count: MapHandle,
    _link: Link,
}

impl Syscalls {
    /// Of all threads of process `pid`, as the caller's PID namespace numbers it.
    ///
    /// # Errors
    /// If the kernel refuses the program: it needs root, and CONFIG_FTRACE_SYSCALLS.
    pub fn of(pid: u32) -> Result<Self, TrafficError> {
        Self::load(pid).map_err(|source| TrafficError::Counting { pid, source })
    }

    fn load(pid: u32) -> Result<Self, libbpf_rs::Error> {
        let namespace = std::fs::metadata("/proc/self/ns/pid")?;
        let mut object = MaybeUninit::uninit();
        let mut open = CallsSkelBuilder::default().open(&mut object)?;
        if let Some(data) = open.maps.rodata_data.as_deref_mut() {
            (data.dev, data.ino, data.pid) = (namespace.dev(), namespace.ino(), pid);
        }
        let loaded = open.load()?;
        let link = loaded.progs.enter.attach()?;
        Ok(Self { pid, count: MapHandle::try_from(&loaded.maps.count)?, _link: link })
    }

    /// Calls so far.
    ///
    /// # Errors
    /// If the kernel does not say.
    pub fn count(&self) -> Result<u64, TrafficError> {
        let failed = |source| TrafficError::Counting { pid: self.pid, source };
        let bytes = self.count.lookup(&0u32.to_ne_bytes(), MapFlags::ANY).map_err(failed)?.unwrap_or_default();
        Ok(bytes.try_into().map_or(0, u64::from_ne_bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::Syscalls;

    #[test]
    fn our_own_calls_are_counted_and_nobody_elses() {
        let ours = match Syscalls::of(std::process::id()) {
            Ok(ours) => ours,
            Err(error) => {
                assert!(std::env::var_os("PRIVILEGED_TESTS").is_none_or(|must| must != "1"), "{error}");
                return eprintln!("skipped: our_own_calls_are_counted_and_nobody_elses: {error}");
            }
        };
        // the first process of a namespace is another one
        let others = Syscalls::of(1).unwrap();
        let (before, before_others) = (ours.count().unwrap(), others.count().unwrap());
        for _ in 0..100_000 {
            nix::unistd::getppid();
        }
        assert!(ours.count().unwrap() - before >= 100_000);
        assert!(others.count().unwrap() - before_others < 100_000);
    }
}
