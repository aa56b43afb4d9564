//! The outer half: examines the machine, reserves huge pages, starts the inner half, and gives back what it reserved.

use crate::cli::{Cli, Command as Case};
use crate::failure::{During, Result, fail};
use crate::process::{installed, wait_for};
use crate::report::Results;
use crate::{goals, host, world};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::fs::{self, File, TryLockError};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::thread::sleep;
use std::time::Duration;

const LOCK: &str = "/run/pollux-bench.lock";
const NR_HUGEPAGES: &str = "/proc/sys/vm/nr_hugepages";
const COMPACT: &str = "/proc/sys/vm/compact_memory";
/// 2 MiB each: 64 for testpmd as generator or guest, and for the switch 64 (testpmd), 128 (OVS) or what its arena and
/// table take (Pollux).
const PAGES: u64 = 192;
/// How long the kernel may take to end all processes inside.
const ENDING: Duration = Duration::from_secs(10);
/// Programs without which nothing can be measured.
const NEEDED: [&str; 7] = ["setpriv", "unshare", "ip", "ethtool", "iperf3", "ping", "mount"];

/// Runs the inner half; whether all went well.
pub fn outside(cli: &Cli) -> Result<bool> {
    if !nix::unistd::geteuid().is_root() {
        return fail("namespaces and XDP need root: run as root");
    }
    for program in NEEDED {
        if !installed(program) {
            return fail(format!("{program} is not installed: `make deps` installs what the harness needs"));
        }
    }
    world::pollux_binary()?;
    let _alone = alone()?;
    if !cli.options.force {
        host::must_be_idle()?;
    }
    let signals = signals()?;
    let directory = tempfile::Builder::new().prefix("plxb-").tempdir().during("a temporary directory")?;
    let pages = if cli.command.uses_testpmd() { Some(HugePages::reserve(PAGES)?) } else { None };
    let mut inner = start(directory.path())?;
    let sound = attend(&mut inner, &signals)?;
    drop(pages);
    hand_over(cli, directory.path())?;
    Ok(sound)
}

/// The file with the results of the inner half.
pub fn results_in(directory: &Path) -> PathBuf {
    directory.join("results.json")
}

/// Hands over the results. There are none if the inner half ended before it had measured anything,
/// and only a part if it ended, or was made to, before it was done.
fn hand_over(cli: &Cli, directory: &Path) -> Result<()> {
    let file = results_in(directory);
    if !file.exists() {
        return Ok(());
    }
    let results = Results::read(&file)?;
    let options = &cli.options;
    if let Some(partial) = results.partial() {
        eprintln!("{partial}");
    }
    if options.json {
        println!("{}", results.json());
    } else {
        print_rest(cli, &results);
    }
    if let Some(path) = &options.save {
        write(path, &results.json())?;
    }
    if let Some(path) = &options.page {
        write(path, &results.page())?;
    }
    Ok(())
}

/// Tables that the inner half did not print: of what it had not completed, and of the goals.
fn print_rest(cli: &Cli, results: &Results) {
    let unfinished = results.unfinished().unwrap_or_default();
    for section in results.sections.iter().filter(|section| unfinished.contains(&&*section.name)) {
        println!("{}", section.markdown());
    }
    if cli.command == Case::All {
        println!("{}", goals::markdown(results));
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory).during(directory.display())?;
    }
    fs::write(path, text).during(path.display())?;
    eprintln!("wrote {}", path.display());
    Ok(())
}

/// Two runs at once would measure each other, and each would take the other's huge pages for the machine's. The kernel
/// lets go of the lock when the process ends, however it ends.
fn alone() -> Result<File> {
    let file = File::create(LOCK).during(LOCK)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => fail("another pollux-bench is running: wait for it"),
        Err(TryLockError::Error(error)) => fail(format!("{LOCK}: {error}")),
    }
}

impl Case {
    fn uses_testpmd(&self) -> bool {
        !matches!(self, Self::Idle | Self::Pipeline | Self::Soak { .. })
    }
}

/// From here on these signals wait until they are read. The inner half unblocks them for its own.
fn signals() -> Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block().during("blocking signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC).during("a signalfd")
}

/// The same command line in namespaces of its own. `--kill-child` ties the inner half, the first process of its
/// namespace, to `unshare`, and `--pdeathsig` ties that to us: with it every process in there ends.
fn start(directory: &Path) -> Result<Child> {
    let program = std::env::current_exe().during("our own path")?;
    Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "--", "unshare"])
        .args(["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
        .arg(program)
        .args(std::env::args_os().skip(1))
        .arg("--inside")
        .arg(directory)
        // what is typed at the terminal is for us: programs it ended would be failures of what is being measured
        .process_group(0)
        .spawn()
        .during("unshare")
}

/// Waits for the inner half, and kills it when a signal says so; whether it ended well.
fn attend(inner: &mut Child, signals: &SignalFd) -> Result<bool> {
    loop {
        if let Some(status) = inner.try_wait().during("the inner half")? {
            return Ok(status.success());
        }
        match signals.read_signal() {
            Ok(None) | Err(Errno::EINTR) => sleep(Duration::from_millis(20)),
            Ok(Some(_)) => {
                end(inner)?;
                eprintln!("interrupted; everything is removed");
                return Ok(false);
            }
            Err(error) => return fail(format!("waiting for signals: {error}")),
        }
    }
}

/// Kills the inner half and waits until every process in there is gone: one that still ran would use what we give back.
fn end(inner: &mut Child) -> Result<()> {
    let unshare = inner.id();
    let first = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).unwrap_or_default();
    inner.kill().during("ending the inner half")?;
    inner.wait().during("the inner half")?;
    // the first process of a namespace is a zombie, or gone, when all others are gone
    let status = format!("/proc/{}/status", first.trim());
    let gone = || !fs::read_to_string(&status).is_ok_and(|text| !text.contains("State:\tZ"));
    wait_for(ENDING, || Ok(gone().then_some(()))).map(drop)
}

/// Huge pages on top of those the machine had.
struct HugePages {
    more: u64,
    now: u64,
}

impl HugePages {
    fn reserve(more: u64) -> Result<Self> {
        let before = pages()?;
        // memory that is free, but in pieces, is no huge page; a kernel without this file does it by itself, later
        let _not_there = fs::write(COMPACT, "1");
        fs::write(NR_HUGEPAGES, (before + more).to_string()).during(NR_HUGEPAGES)?;
        let now = pages()?;
        // what was obtained is given back by the drop, also if it is too little
        let reserved = Self { more: now.saturating_sub(before), now };
        if reserved.more < more {
            let got = reserved.more;
            return fail(format!("only {got} of {more} huge pages of 2 MiB could be reserved: free memory or reboot"));
        }
        Ok(reserved)
    }
}

impl Drop for HugePages {
    fn drop(&mut self) {
        // others may have added pages meanwhile: ours are taken off. If they set fewer, ours are gone already.
        let given_back = match pages() {
            Ok(now) if now < self.now => Ok(()),
            Ok(now) => fs::write(NR_HUGEPAGES, (now - self.more).to_string()).during(NR_HUGEPAGES),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = given_back {
            eprintln!("{} huge pages could not be given back: {failure}", self.more);
        }
    }
}

fn pages() -> Result<u64> {
    let text = fs::read_to_string(NR_HUGEPAGES).during(NR_HUGEPAGES)?;
    text.trim().parse().during(NR_HUGEPAGES)
}
