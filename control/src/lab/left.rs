//! Processes that a lab's nodes leave behind: their namespace, without its name, lives as long as they do.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// A process in a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its number.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// The node.
    pub node: String,
}

/// Who is in these namespaces, given by name and the kernel's number, as `ip netns pids` finds them.
#[must_use]
pub fn processes(nodes: &[(String, u64)]) -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<_> = pids.filter_map(|pid| process(pid, nodes)).collect();
    found.sort_by_key(|process| process.pid);
    found
}

/// `None` also for one that has ended meanwhile.
fn process(pid: u32, nodes: &[(String, u64)]) -> Option<Process> {
    let number = fs::metadata(format!("/proc/{pid}/ns/net")).ok()?.ino();
    let (node, _) = nodes.iter().find(|(_, its)| *its == number)?;
    let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
    Some(Process { pid, command: words.join(" ").trim_end().to_owned(), node: node.clone() })
}
