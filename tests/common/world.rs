//! A machine of the test's own: network, mount points, `/run` and `/sys` of a namespace that ends with the test.
//!
//! What runs in it sees no interface, no named namespace and no switch of the real machine, so whatever is there
//! afterwards was left behind by the switch under test. Tests in worlds run one at a time, over all processes: they
//! measure, and share the cores.

use nix::fcntl::{Flock, FlockArg};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;

/// Runs `job` in a world of its own, or says that it needs root.
pub fn world(name: &str, job: impl FnOnce() + Send) {
    if !privileged(name) {
        return;
    }
    let _one_at_a_time = lock();
    let run = || {
        enter();
        // Ends what runs in the world, also when `job` panics.
        let _end = Apocalypse;
        job();
    };
    let outcome = thread::scope(|scope| scope.spawn(run).join());
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
}

/// Whether a test that needs root can run. With `PRIVILEGED_TESTS=1` it must.
fn privileged(name: &str) -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let must = std::env::var_os("PRIVILEGED_TESTS").is_some_and(|v| v == "1");
    assert!(!must, "{name} needs root, and PRIVILEGED_TESTS=1 says that it must run");
    eprintln!("skipped: {name} needs root");
    false
}

fn lock() -> Flock<File> {
    let path = std::env::temp_dir().join("pollux-tests.lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(&path).expect("a lock file");
    Flock::lock(file, FlockArg::LockExclusive).unwrap_or_else(|(_, e)| panic!("{}: {e}", path.display()))
}

/// Moves the calling thread, and what it starts, into new namespaces.
fn enter() {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET).expect("new namespaces");
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .expect("private mounts");
    mount(Some("run"), "/run", Some("tmpfs"), MsFlags::empty(), None::<&str>).expect("a /run of our own");
    // What is mounted below the old /sys (a bpffs, on most machines) is not below ours: `tc` would look for it there.
    let _not_mounted = output(&["umount", "--recursive", "--lazy", "/sys"]);
    // A sysfs shows the interfaces of the namespace it is mounted in. Some containers do not allow it.
    let _as_it_was = mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), None::<&str>);
    run(&["ip", "link", "set", "lo", "up"]);
}

/// No stack speaks unasked in the namespace of the calling thread.
pub fn silence() {
    for which in ["all", "default"] {
        // Not there: a kernel without IPv6 is silent anyway.
        let _ = fs::write(format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6"), "1");
    }
}

/// Runs a command to its end.
pub fn output(command: &[&str]) -> Output {
    Command::new(command[0]).args(&command[1..]).output().unwrap_or_else(|e| panic!("{}: {e}", command[0]))
}

/// Runs a command that must succeed; its standard output.
pub fn run(command: &[&str]) -> String {
    let done = output(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(done.status.success(), "{command:?}: {}\n{}{}", done.status, text(&done.stdout), text(&done.stderr));
    text(&done.stdout)
}

/// Runs `job` on a thread in the named namespace; sockets opened there stay there.
pub fn inside<T: Send>(netns: &str, job: impl FnOnce() -> T + Send) -> T {
    let target = File::open(Path::new("/run/netns").join(netns)).unwrap_or_else(|e| panic!("namespace {netns}: {e}"));
    let enter = || {
        setns(target, CloneFlags::CLONE_NEWNET).expect("entering a namespace");
        job()
    };
    thread::scope(|scope| scope.spawn(enter).join()).unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Processes of this world besides the test itself.
pub fn processes() -> Vec<Pid> {
    let mine = fs::read_link("/proc/thread-self/ns/mnt").expect("our mount namespace");
    let entries = fs::read_dir("/proc").expect("/proc");
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let here = |pid: &i32| fs::read_link(PathBuf::from(format!("/proc/{pid}/ns/mnt"))).is_ok_and(|ns| ns == mine);
    pids.filter(here).map(Pid::from_raw).filter(|pid| *pid != Pid::this()).collect()
}

struct Apocalypse;

impl Drop for Apocalypse {
    fn drop(&mut self) {
        while let Some(pid) = processes().first() {
            let _gone = kill(*pid, Signal::SIGKILL);
            thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}
