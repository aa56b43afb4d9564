//! Limits of this process and of its control group: open files, locked memory, memory, huge pages; and who was killed for
//! want of memory.
//!
//! A control group is bound by its own limits and by those of all groups above it (cgroups(7)). Version 1 has a tree per
//! controller, version 2 one for all.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of a huge page.
const HUGE_PAGE: u64 = 2 << 20;
/// Version 1 shows a number beyond this where there is no limit.
const NO_LIMIT: u64 = 1 << 62;
/// CAP_IPC_LOCK (linux/capability.h): who has it may lock as much as there is.
const CAP_IPC_LOCK: u32 = 14;

/// Raises the soft limit on open files to the hard one: every port takes several, and the usual soft limit of 1024 is
/// there for programs that call select(2).
pub fn raise_open_files() -> io::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    Ok(setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?)
}

/// Bytes that this process may lock; `None` without a limit, and for who could not make ports anyway.
pub(super) fn locked_memory() -> Option<u64> {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).ok()?;
    let limited = soft != RLIM_INFINITY && nix::unistd::geteuid().is_root() && !super::caps::held(CAP_IPC_LOCK);
    limited.then_some(soft)
}

/// Bytes of memory that the control group may still take.
pub(super) fn memory() -> Option<u64> {
    let groups = Groups::here();
    let free = |dir: PathBuf| {
        let limit = number(&dir.join("memory.max")).or_else(|| number(&dir.join("memory.limit_in_bytes")))?;
        let used = number(&dir.join("memory.current")).or_else(|| number(&dir.join("memory.usage_in_bytes")))?;
        // the kernel drops files that were read before it kills
        Some(limit.saturating_sub(used.saturating_sub(inactive_files(&dir))))
    };
    groups.all("memory").into_iter().filter_map(free).min()
}

/// Huge pages of 2 MiB that the control group may still take.
pub(super) fn huge_pages() -> Option<u64> {
    let groups = Groups::here();
    let free = |dir: PathBuf| {
        let file = |name: &str| number(&dir.join(format!("hugetlb.2MB.{name}")));
        let limit = file("max").or_else(|| file("limit_in_bytes"))?;
        let used = file("current").or_else(|| file("usage_in_bytes"))?;
        Some(limit.saturating_sub(used) / HUGE_PAGE)
    };
    groups.all("hugetlb").into_iter().filter_map(free).min()
}

/// Processes of this control group that were killed for want of memory; of the whole machine where there is no group.
#[must_use]
pub fn oom_kills() -> Option<u64> {
    let groups = Groups::here();
    let of_group = |dir: &PathBuf| {
        let text =
            ["memory.events", "memory.oom_control"].iter().find_map(|name| fs::read_to_string(dir.join(name)).ok())?;
        field(&text, "oom_kill")
    };
    let machine = || field(&fs::read_to_string("/proc/vmstat").ok()?, "oom_kill");
    groups.all("memory").iter().find_map(of_group).or_else(machine)
}

fn inactive_files(dir: &Path) -> u64 {
    let text = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    field(&text, "total_inactive_file").or_else(|| field(&text, "inactive_file")).unwrap_or(0)
}

/// A file with one number; "max" is none, and so is what version 1 shows without a limit.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok().filter(|n| *n < NO_LIMIT)
}

/// The number behind a name, in lines of `name number`.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// The control groups of this process.
#[derive(Debug)]
struct Groups {
    /// Where they are mounted.
    mount: PathBuf,
    /// `/proc/self/cgroup`.
    text: String,
}

impl Groups {
    fn here() -> Self {
        let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self { mount: "/sys/fs/cgroup".into(), text }
    }

    /// The directories of a controller, ours first, then those above it.
    fn all(&self, controller: &str) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for line in self.text.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (parts.next(), parts.next()) else { continue };
            let mounts = match controllers {
                "" => vec![self.mount.clone(), self.mount.join("unified")],
                _ if controllers.split(',').any(|name| name == controller) => {
                    vec![self.mount.join(controllers), self.mount.join(controller)]
                }
                _ => continue,
            };
            let path = Path::new(path.trim_start_matches('/'));
            all.extend(mounts.iter().flat_map(|mount| path.ancestors().map(|part| mount.join(part))));
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_found_in_both_versions_with_those_above_it() {
        let groups = Groups { mount: "/c".into(), text: "4:memory:/a/b\n3:cpu:/x\n0::/d\n".to_owned() };
        let all = groups.all("memory");
        for dir in ["/c/memory/a/b", "/c/memory/a", "/c/memory/", "/c/d", "/c/unified/d"] {
            assert!(all.contains(&PathBuf::from(dir)), "{dir}: {all:?}");
        }
        assert!(!all.iter().any(|dir| dir.starts_with("/c/cpu")));
    }

    #[test]
    fn a_limit_is_a_number_and_max_is_none() {
        assert_eq!(field("oom 3\noom_kill 2\n", "oom_kill"), Some(2));
        assert_eq!(field("oom_kill_disable 0\n", "oom_kill"), None);
        let file = std::env::temp_dir().join(format!("plxt-limit-{}", std::process::id()));
        for (text, wanted) in [("4096\n", Some(4096)), ("max\n", None), ("9223372036854771712\n", None)] {
            fs::write(&file, text).unwrap();
            assert_eq!(number(&file), wanted, "{text}");
        }
        fs::remove_file(&file).unwrap();
    }

    #[test]
    fn the_soft_limit_on_files_becomes_the_hard_one() {
        raise_open_files().unwrap();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        assert_eq!(soft, hard);
    }
}
