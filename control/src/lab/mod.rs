//! Labs: `up` starts the switch in the background and waits for it, `down` stops it and waits until it is gone.
//!
//! `up` reads the standard output of the switch, which says "ready" or what went wrong, and asks until its virtual machines
//! have booted; `down` waits
//! for the lock of the journal, which the kernel releases when the process is gone.

mod left;
mod trial;
pub mod which;

pub use left::Process;
pub use trial::{Report, run as test};

use crate::api::client::Client;
use crate::failure::Failure;
use crate::kernel::limits;
use crate::live::journal::{self, DIRECTORY};
use crate::live::switch::console;
use crate::plan::{Driver, Plan, PortPlan};
use crate::view::{Ports, Status, Stopped};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{DirBuilder, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// What the background half writes when every port is up.
pub const READY: &str = "ready";
/// Longest that an orderly stop takes with a thousand ports.
const STOPPING: Duration = Duration::from_secs(60);

/// Longest that a machine may take to boot; emulated ones take seconds.
const BOOTING: Duration = Duration::from_secs(120);
/// How often one looks whether it has.
const GLANCE: Duration = Duration::from_millis(50);

/// Starts the switch in the background with the text of a file; returns when every port is up.
pub fn up((file, text): (&str, &str), plan: &Plan, socket: &Path) -> Result<(), Failure> {
    let log = log_file(&plan.name);
    let new_log = !log.exists();
    let killed_before = limits::oom_kills();
    let mut child = spawn(file, socket, &log)?;
    if let Some(mut input) = child.stdin.take() {
        // a switch that ends before it has read says why
        let _ = input.write_all(text.as_bytes());
    }
    let words = hear(&mut child).map_err(|error| Failure::io("listening to the switch", &error))?;
    if words.last().is_some_and(|line| line == READY) {
        return Ok(());
    }
    if !words.is_empty() && new_log {
        // it says no more than these words; one that was there before is a running switch's
        let _ = std::fs::remove_file(&log);
    }
    let status = child.wait().ok();
    let code = status.and_then(|status| status.code()).and_then(|code| u8::try_from(code).ok());
    let said = match status.and_then(|status| status.signal()) {
        _ if !words.is_empty() => words.join("\n"),
        Some(nix::libc::SIGKILL) => {
            killed(killed_before).unwrap_or_else(|| "the switch was killed by SIGKILL".to_owned())
        }
        Some(signal) => format!("the switch was killed by signal {signal}; see {}", log.display()),
        None => format!("the switch ended without a word; see {}", log.display()),
    };
    Err(Failure { code: code.filter(|code| *code != 0).unwrap_or(crate::failure::FAILED), text: said })
}

/// Waits until every virtual machine has taken its ports.
pub fn booted(plan: &Plan, socket: &Path) -> Result<(), Failure> {
    let client = Client::new(socket);
    let end = Instant::now() + BOOTING;
    loop {
        let ports: Ports = client.get("/v1/ports")?;
        let waits = |port: &&PortPlan| matches!(&port.shape, Driver::VhostUser(offer) if offer.nic.is_some());
        let down = |port: &&PortPlan| ports.ports.iter().any(|it| it.name == port.name && it.link != "up");
        let Some(port) = plan.ports.iter().filter(waits).find(down) else { return Ok(()) };
        if Instant::now() > end {
            let machine = plan.machines.iter().map(|machine| console(&plan.name, &machine.name).display().to_string());
            let what = format!("port `{}` has no guest after {} s", port.name, BOOTING.as_secs());
            return Err(Failure::new(format!(
                "{what}; what the machines say is in {}",
                machine.collect::<Vec<_>>().join(", ")
            )));
        }
        std::thread::sleep(GLANCE);
    }
}

/// Where the background half logs to.
#[must_use]
pub fn log_file(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(format!("{name}.log"))
}

fn spawn(file: &str, socket: &Path, log: &Path) -> Result<Child, Failure> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(DIRECTORY);
    made.map_err(|error| Failure::unwritable(Path::new(DIRECTORY), &error))?;
    let opened = File::options().create(true).append(true).open(log);
    let log_file = opened.map_err(|error| Failure::unwritable(log, &error))?;
    let failed = |error: io::Error| Failure::io("starting the switch", &error);
    Command::new(std::env::current_exe().map_err(failed)?)
        .args(["run", "--detached", "-c", file, "--socket"])
        .arg(socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(log_file)
        .spawn()
        .map_err(failed)
}

/// Lines up to "ready" or the end.
fn hear(child: &mut Child) -> io::Result<Vec<String>> {
    let mut words = Vec::new();
    let Some(output) = child.stdout.take() else { return Ok(words) };
    for line in BufReader::new(output).lines() {
        words.push(line?);
        if words.last().is_some_and(|line| line == READY) {
            break;
        }
    }
    Ok(words)
}

/// Says that a switch which was killed was so for want of memory, if the kernel has done that since.
fn killed(before: Option<u64>) -> Option<String> {
    let since = limits::oom_kills()?.saturating_sub(before?);
    let what = "the switch was killed, and the kernel says for want of memory (OOM)";
    (since > 0).then(|| format!("{what}; lower `memory.frames`, or raise the limit of its control group (memory.max)"))
}

/// What `down` found and did.
#[derive(Debug, Default)]
pub struct Down {
    /// The pool's balance, if the switch was alive to tell.
    pub stopped: Option<Stopped>,
    /// What a dead switch had left.
    pub cleaned: Vec<String>,
    /// Processes in its nodes, which go on.
    pub left: Vec<Process>,
    /// Why the switch was dead, if that is known.
    pub killed: Option<String>,
}

/// Stops the switch `name` and waits until it is gone; cleans up after it if it was dead. Idempotent. Which daemon that is the
/// journal says, not `--socket`: another lab must not be stopped by mistake.
pub fn down(name: &str) -> Result<Down, Failure> {
    let directory = Path::new(DIRECTORY);
    let Some(header) = journal::header(directory, name) else { return Ok(Down::default()) };
    let nodes = journal::namespaces(directory, name);
    let (stopped, killed) = match journal::holder(directory, name) {
        Some(pid) => (ask_to_stop(&header.socket, pid)?, None),
        None => (None, killed(header.oom_kills)),
    };
    let name = name.to_owned();
    let (done, gone) = mpsc::channel();
    // the lock has no timeout, so a thread waits for it
    std::thread::spawn(move || done.send(journal::wait_and_clean(Path::new(DIRECTORY), &name)));
    let late = |_| {
        Failure::new(format!(
            "the switch (pid {}) does not stop; `kill -9 {}` and run this again",
            header.pid, header.pid
        ))
    };
    let cleaned = gone.recv_timeout(STOPPING).map_err(late)?.map_err(|error| Failure::new(error.to_string()))?;
    Ok(Down { stopped, cleaned, killed, left: left::processes(&nodes) })
}

/// By its API, or by SIGTERM if that is not there, or is another's.
fn ask_to_stop(socket: &Path, pid: u32) -> Result<Option<Stopped>, Failure> {
    let client = Client::new(socket);
    let is_it = client.get::<Status>("/v1/status").is_ok_and(|status| status.pid == pid);
    if let Some(Ok(stopped)) = is_it.then(|| client.post("/v1/stop", &())) {
        return Ok(Some(stopped));
    }
    let process = i32::try_from(pid).map(Pid::from_raw).map_err(|_| Failure::new(format!("{pid} is no process")))?;
    match kill(process, Signal::SIGTERM) {
        Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(None),
        Err(error) => Err(Failure::io("stopping the switch", &error.into())),
    }
}
