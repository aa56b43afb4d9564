//! A long run: mixed traffic over a lab while ports come and go. Nothing may be lost, and no resource may grow.
//!
//! The lab is one like any user's, brought up by `pollux lab up`: two TAP and two veth nodes in a learning domain.
//! Every second a port is added or removed through the API, so that the population swings between none and four,
//! interfaces on the host and in a node by turns; names, and with them slots of the switch, are used again and again.
//! In a domain apart a hostile guest does its worst, and in a third two bystanders must lose nothing.

mod churn;
mod hostile;
mod story;
mod vitals;

use crate::failure::{During, Failure, Result};
use crate::process::{ip, run, wait_for, within};
use crate::record;
use crate::report::Section;
use crate::rig::{Ledger, ask, warnings};
use crate::traffic::iperf::Flow;
use crate::world::World;
use churn::Churn;
use hostile::Sessions;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};
use story::Story;
use vitals::{Vitals, Watch};

const LAB: &str = "\
name: plxb-soak
memory: { frames: 65536 }
domains: { lan: {}, calm: {}, wild: {} }
nodes: { plxb-t1: {}, plxb-t2: {}, plxb-x1: {}, plxb-x2: {}, plxb-b1: {}, plxb-b2: {}, plxb-w: {} }
ports:
  t1: { kind: tap,  node: plxb-t1, ifname: eth0, ip: [10.78.0.1/24], domain: lan }
  t2: { kind: tap,  node: plxb-t2, ifname: eth0, ip: [10.78.0.2/24], domain: lan }
  x1: { kind: veth, node: plxb-x1, ifname: eth0, ip: [10.78.0.3/24], domain: lan }
  x2: { kind: veth, node: plxb-x2, ifname: eth0, ip: [10.78.0.4/24], domain: lan }
  b1: { kind: tap,  node: plxb-b1, ifname: eth0, ip: [10.79.0.1/24], domain: calm }
  b2: { kind: veth, node: plxb-b2, ifname: eth0, ip: [10.79.0.2/24], domain: calm }
  w:  { kind: tap,  node: plxb-w,  ifname: eth0, ip: [10.80.0.1/24], domain: wild }
  evil: { kind: vhost-user, socket: SOCKET, domain: wild }
";
/// Where the hostile guest connects.
const EVIL: &str = "evil.sock";
const LOG: &str = "/run/pollux/plxb-soak.log";
/// How long one flow runs before the next begins.
const FLOW: u32 = 10;
const STEP: Duration = Duration::from_secs(1);
/// Until what is in rings and queues has arrived when traffic ends.
const SETTLING: Duration = Duration::from_secs(3);

/// The switch as the soak sees it.
#[derive(Debug)]
struct Lab<'a> {
    world: &'a World,
    pollux: String,
    socket: String,
    file: String,
    pid: u32,
    log: File,
}

/// Faults of all threads.
type Faults = Mutex<Vec<String>>;

fn note(faults: &Faults, fault: String) {
    eprintln!("  {fault}");
    held(faults).push(fault);
}

fn held(faults: &Faults) -> MutexGuard<'_, Vec<String>> {
    // a thread that panicked while it held the lock had nothing half done
    faults.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs the soak; returns its course and its faults.
pub fn soak(world: &World, minutes: u32) -> Result<Vec<Section>> {
    let (mut lab, start) = (Lab::up(world)?, Instant::now());
    let quiet = lab.vitals()?;
    eprintln!("soak, start: {quiet}");
    let (mut story, faults) = (Story::begin(quiet), Faults::default());
    drive(&lab, Duration::from_secs(60) * minutes, &faults, &mut story)?;
    thread::sleep(SETTLING);
    let end = lab.vitals()?;
    eprintln!("soak, end: {end}");
    story.faults = faults.into_inner().unwrap_or_else(PoisonError::into_inner);
    story.end(start.elapsed(), end, &lab.ledger()?);
    story.faults.extend(lab.down()?);
    Ok(story.sections())
}

/// Traffic and churn until `time` is over.
fn drive(lab: &Lab<'_>, time: Duration, faults: &Faults, story: &mut Story) -> Result<()> {
    let (over, sessions) = (AtomicBool::new(false), Sessions::default());
    thread::scope(|scope| {
        scope.spawn(|| hostile::keep_on(lab, &sessions, &over, faults));
        for traffic in TRAFFIC {
            let (over, faults) = (&over, &faults);
            scope.spawn(move || keep_going(lab, traffic, over, faults));
        }
        let outcome = churn(lab, time, &sessions, faults, story);
        // Relaxed: nothing is published with it, the threads only have to see it soon
        over.store(true, Ordering::Relaxed);
        outcome
    })?;
    story.remarks.push(format!("{} sessions of a hostile guest", sessions.ended.into_inner()));
    Ok(())
}

fn churn(lab: &Lab<'_>, time: Duration, sessions: &Sessions, faults: &Faults, story: &mut Story) -> Result<()> {
    let (start, mut churn, mut watch) = (Instant::now(), Churn::default(), Watch::default());
    while start.elapsed() < time {
        if let Err(failure) = churn.step(lab) {
            note(faults, failure.to_string());
        }
        // always at the same point of the swing, so that the numbers of files and frames can be compared
        if churn.at_rest() && watch.is_due() {
            // a guest has memory and files
            let _paused = sessions.pause();
            let (at, vitals) = (start.elapsed(), lab.vitals()?);
            eprintln!("soak, {} s: {vitals}, ports: +{} -{}", at.as_secs(), churn.added, churn.removed);
            watch.take(vitals);
            story.add(at, vitals);
            story.faults.clone_from(&held(faults));
            record::note(&story.sections());
        }
        let steps = churn.added + churn.removed;
        thread::sleep((STEP * steps).saturating_sub(start.elapsed()));
    }
    churn.empty(lab)?;
    story.remarks.push(format!("{} ports were added and {} removed", churn.added, churn.removed));
    for growth in watch.growth() {
        note(faults, growth);
    }
    Ok(())
}

/// One kind of traffic, for a bounded time.
type Traffic = fn(&Path) -> Result<()>;

const TRAFFIC: [Traffic; 7] = [
    |directory| tcp(directory, "plxb-t1", "plxb-x1", "10.78.0.3", 5301),
    |directory| tcp(directory, "plxb-x2", "plxb-t2", "10.78.0.2", 5302),
    |directory| {
        let flow = Flow { from: "plxb-t1", to: "plxb-x2", address: "10.78.0.4", port: 5303, seconds: FLOW };
        flow.udp(directory, "200M")
    },
    |_| ping("plxb-t2", &["-f", "10.78.0.3"]),
    // a broadcast: a copy for every port
    |_| ping("plxb-x1", &["-b", "-i", "0.01", "10.78.0.255"]),
    // what the hostile guest is to receive
    |_| ping("plxb-w", &["-b", "-f", "10.80.0.255"]),
    |_| hostile::bystanders(),
];

fn tcp(directory: &Path, from: &str, to: &str, address: &str, port: u16) -> Result<()> {
    let flow = Flow { from, to, address, port, seconds: FLOW };
    let outcome = flow.tcp(directory, 1)?;
    if outcome.gbits > 0.0 { Ok(()) } else { Err(Failure(format!("TCP from {from} to {to} moved nothing"))) }
}

fn ping(from: &str, more: &[&str]) -> Result<()> {
    let seconds = FLOW.to_string();
    let argv = [&["ping", "-n", "-q", "-w", &seconds], more].concat();
    let outcome = run(&within(from, &argv));
    // hosts do not answer broadcasts
    if more.contains(&"-b") { Ok(()) } else { outcome.map(drop) }
}

fn keep_going(lab: &Lab<'_>, traffic: Traffic, over: &AtomicBool, faults: &Faults) {
    while !over.load(Ordering::Relaxed) {
        if let Err(failure) = traffic(&lab.world.directory) {
            note(faults, format!("traffic: {failure}"));
            thread::sleep(STEP);
        }
    }
}

impl<'a> Lab<'a> {
    fn up(world: &'a World) -> Result<Self> {
        let evil = world.directory.join(EVIL).display().to_string();
        let (pollux, file) =
            (world.pollux.display().to_string(), world.write("soak.yaml", &LAB.replace("SOCKET", &evil))?);
        let socket = world.directory.join("soak.sock").display().to_string();
        run(&[&pollux, "--socket", &socket, "lab", "up", &file])?;
        let log = File::open(LOG).during(LOG)?;
        let status = ask(&pollux, &socket, "status")?;
        let pid = status["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        let pid = pid.ok_or_else(|| Failure("pollux status does not say its pid".into()))?;
        for node in ["plxb-t1", "plxb-t2", "plxb-x1", "plxb-x2", "plxb-b1", "plxb-b2", "plxb-w"] {
            ip(&format!("-n {node} link set lo up"))?;
        }
        Ok(Self { world, pollux, socket, file, pid, log })
    }

    fn ledger(&self) -> Result<Ledger> {
        Ok(Ledger::of(&ask(&self.pollux, &self.socket, "stats")?))
    }

    fn vitals(&self) -> Result<Vitals> {
        Vitals::of(self.pid, &ask(&self.pollux, &self.socket, "stats")?)
    }

    /// Waits until the switch has seen the hostile guest go.
    fn without_guest(&self) -> Result<()> {
        let gone = wait_for(SETTLING, || {
            let answer = ask(&self.pollux, &self.socket, "ports")?;
            let evil = answer["ports"].as_array().into_iter().flatten().find(|port| port["name"] == "evil");
            Ok((evil.map(|port| &port["guest"]["connected"]) == Some(&Value::Bool(false))).then_some(()))
        });
        gone?.ok_or_else(|| Failure("the switch has not let the guest go".into()))
    }

    fn order(&self, words: &[&str]) -> Result<()> {
        run(&[&[self.pollux.as_str(), "--socket", &self.socket], words].concat()).map(drop)
    }

    /// Takes the lab down; returns its warnings.
    fn down(&mut self) -> Result<Vec<String>> {
        let said = run(&[&self.pollux, "--socket", &self.socket, "lab", "down", &self.file]);
        let mut faults: Vec<String> = match said {
            Ok(said) if said.contains("came home") => Vec::new(),
            Ok(said) => vec![format!("lab down: {}", said.trim())],
            Err(failure) => vec![failure.to_string()],
        };
        faults.extend(self.ended()?);
        // the file may be deleted by now, our descriptor still reads it
        let mut log = String::new();
        self.log.read_to_string(&mut log).during(LOG)?;
        // the hostile guest has its line for each session
        faults.extend(warnings(&log).into_iter().filter(|line| !line.contains("evil")));
        Ok(faults)
    }

    /// How the daemon ended, if not well. It is our child by now: its parent, `lab up`, is long gone, and we are the
    /// first process here.
    fn ended(&self) -> Result<Option<String>> {
        let pid = Pid::from_raw(i32::try_from(self.pid).during("the daemon's pid")?);
        let ended = wait_for(SETTLING, || match waitpid(pid, Some(WaitPidFlag::WNOHANG)).during("the daemon")? {
            WaitStatus::StillAlive => Ok(None),
            status => Ok(Some(status)),
        });
        Ok(match ended? {
            Some(WaitStatus::Exited(_, 0)) => None,
            Some(status) => Some(format!("the daemon ended badly: {status:?}")),
            None => Some("the daemon is still there after `lab down`".into()),
        })
    }
}
