//! What each command does. Data goes to standard output, everything else to standard error.

mod change;

use crate::api::client::Client;
use crate::api::supervisor;
use crate::cli::{Cli, Command, DEFAULT_SOCKET, Json, Lab, Run};
use crate::config;
use crate::config::document::{self, Document, STDIN};
use crate::failure::{Failure, OK, PERMISSION, UNREACHABLE};
use crate::kernel::limits;
use crate::kernel::machine::Machine;
use crate::lab;
use crate::live::journal;
use crate::plan::privilege;
use crate::plan::{self, Plan};
use crate::view::text;
use crate::view::{self, GuestView};
use serde::{Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Runs a command line; the exit code.
#[must_use]
pub fn main(cli: Cli) -> u8 {
    match run(cli) {
        Ok(()) => OK,
        Err(failure) => {
            eprintln!("{}", failure.text);
            failure.code
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let socket = cli.named_socket();
    let socket = socket.as_deref();
    let client = Client::new(socket.unwrap_or(Path::new(DEFAULT_SOCKET)));
    match cli.command {
        Command::Run(run) => start(&run, socket),
        Command::Check { file } => check(&file),
        Command::Schema => print(&config::schema()),
        Command::Status(json) => show(&client, "/v1/status", json, text::status),
        Command::Ports { name: None, json } => show(&client, "/v1/ports", json, text::ports),
        Command::Ports { name: Some(name), json } => show_port(&client, &name, json),
        Command::Stats(json) => show(&client, "/v1/stats", json, text::stats),
        Command::Groups(json) => show(&client, "/v1/groups", json, text::groups),
        Command::Events(json) => show(&client, "/v1/events", json, text::events),
        Command::Fdb { json, change: None } => show(&client, "/v1/fdb", json, text::fdb),
        Command::Fdb { change: Some(change), .. } => change::fdb(&client, change),
        Command::Domain(change) => change::domain(&client, change),
        Command::Port(change) => change::port(&client, change),
        Command::Lab(lab) => in_lab(lab, socket),
    }
}

/// A reader that has seen enough (`pollux stats | head -1`) is no error.
fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::io("writing the answer", &error)),
        _ => Ok(()),
    }
}

fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value).map_err(|error| Failure::new(error.to_string()))?;
    print(&format!("{text}\n"))
}

fn show<T: Serialize + DeserializeOwned>(
    client: &Client,
    path: &str,
    json: Json,
    text: fn(&T) -> String,
) -> Result<(), Failure> {
    let answer: T = client.get(path)?;
    if json.json { print_json(&answer) } else { print(&text(&answer)) }
}

fn load(file: &str) -> Result<(Document, Plan), Failure> {
    planned(file, &document::read(file)?)
}

/// Checks a text that was read from `file`.
fn planned(file: &str, text: &str) -> Result<(Document, Plan), Failure> {
    let document = document::parse(file, text)?;
    let plan = plan::plan(&document, &Machine::here())?;
    Ok((document, plan))
}

fn check(file: &str) -> Result<(), Failure> {
    let (_, plan) = load(file)?;
    eprint!("{}", plan.warnings.as_warnings());
    print(&format!(
        "{file}: ok: switch `{}`, {} ports in {} domains, workers on cores {:?}, {} frames ({} MiB)\n",
        plan.name,
        plan.ports.len(),
        plan.domains.len(),
        plan.workers.iter().map(|worker| worker.core).collect::<Vec<_>>(),
        plan.frames,
        u64::from(plan.frames) / 512
    ))
}

/// `run`; in the background half of `lab up` errors go to standard output too, where `lab up` listens.
fn start(run: &Run, socket: Option<&Path>) -> Result<(), Failure> {
    log_to_stderr();
    if run.detached {
        // fails only for a process that leads a group already, which is as good
        let _ = nix::unistd::setsid();
    }
    if let Err(error) = limits::raise_open_files() {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    let result = serve(run, socket.unwrap_or(Path::new(DEFAULT_SOCKET)));
    if let (true, Err(failure)) = (run.detached, &result) {
        // nobody listens any more once "ready" was said
        let _ = io::stdout().write_all(format!("{}\n", failure.text).as_bytes());
    }
    result
}

fn serve(run: &Run, socket: &Path) -> Result<(), Failure> {
    let text = document::read(if run.detached { STDIN } else { &run.config })?;
    let (document, plan) = planned(&run.config, &text)?;
    if let Some(text) = privilege::missing(&plan) {
        return Err(Failure { code: PERMISSION, text });
    }
    let socket = std::path::absolute(socket).map_err(|error| Failure::io("the socket's path", &error))?;
    let file = journal::origin(Path::new(&run.config));
    if run.detached {
        // do not keep the directory, and what is mounted there, busy
        std::env::set_current_dir("/").map_err(|error| Failure::io("changing to /", &error))?;
    }
    let name = plan.name.clone();
    supervisor::run(document, plan, (&socket, &file), |switch| {
        let status = switch.status();
        tracing::info!(switch = name, ports = status.ports_open, memory = status.memory.backing, "every port is up");
        let awaited = !run.detached || say_ready();
        if !awaited {
            tracing::warn!("`lab up` was interrupted: stopping");
            let _ = std::fs::remove_file(lab::log_file(&name));
        }
        awaited
    })?;
    Ok(())
}

/// Tells `lab up`, then lets go of its pipe; false if `lab up` was interrupted and is gone.
fn say_ready() -> bool {
    let told = io::stdout().write_all(format!("{}\n", lab::READY).as_bytes()).is_ok();
    if let Ok(null) = File::options().write(true).open("/dev/null") {
        let _ = nix::unistd::dup2_stdout(null);
    }
    told
}

fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("POLLUX_LOG").unwrap_or_else(|_| "info".into());
    let log = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter).with_target(false);
    // a second call in one process (tests) keeps the first
    let _ = log.with_ansi(io::stderr().is_terminal()).try_init();
}

/// Between two looks at a port, for its rates.
const RATE_TIME: Duration = Duration::from_millis(500);

fn port(client: &Client, name: &str) -> Result<view::Port, Failure> {
    let answer: view::Ports = client.get("/v1/ports")?;
    let port = answer.ports.into_iter().find(|port| port.name == name);
    port.ok_or_else(|| Failure::new(format!("there is no port `{name}`; `pollux ports` lists them")))
}

fn show_port(client: &Client, name: &str, json: Json) -> Result<(), Failure> {
    let mut shown = port(client, name)?;
    if json.json {
        return print_json(&shown);
    }
    let Some(before) = shown.guest.take() else { return print(&text::port(&shown)) };
    let since = Instant::now();
    if before.connected {
        std::thread::sleep(RATE_TIME);
    }
    let now = port(client, name)?;
    let guest = now.guest.as_ref().map(|guest| guest.text(&before, since.elapsed().as_secs_f64()));
    print(&(text::port(&now) + &guest.unwrap_or_default()))
}

fn guest(client: &Client, name: &str) -> Result<GuestView, Failure> {
    let wrong = || Failure::new(format!("port `{name}` is no vhost-user port: a guest cannot be attached to it"));
    port(client, name)?.guest.ok_or_else(wrong)
}

fn in_lab(lab: Lab, socket: Option<&Path>) -> Result<(), Failure> {
    match lab {
        Lab::Up { file, foreground: true } => start(&Run { config: file, detached: false }, socket),
        Lab::Up { file, foreground: false } => up(&file, socket.unwrap_or(Path::new(DEFAULT_SOCKET))),
        Lab::Test { file, tcp, json } => test(&file, tcp, json, socket),
        Lab::Down { lab } => down(lab.as_deref(), socket),
    }
}

fn up(file: &str, socket: &Path) -> Result<(), Failure> {
    // once: it may be a pipe
    let text = document::read(file)?;
    let (_, plan) = planned(file, &text)?;
    if let Some(text) = privilege::missing(&plan) {
        return Err(Failure { code: PERMISSION, text });
    }
    eprint!("{}", plan.warnings.as_warnings());
    lab::up((file, &text), &plan, socket)?;
    lab::booted(&plan, socket)?;
    print(&format!(
        "lab `{}` is up: {} nodes, {} ports; log in {}\n",
        plan.name,
        plan.nodes.len() + plan.machines.len(),
        plan.ports.len(),
        lab::log_file(&plan.name).display()
    ))
}

/// Where the lab's daemon listens: its journal knows best.
fn socket_of(name: &str, socket: Option<&Path>) -> PathBuf {
    let of_lab = journal::header(Path::new(journal::DIRECTORY), name).map(|header| header.socket);
    of_lab.or_else(|| socket.map(Path::to_owned)).unwrap_or_else(|| DEFAULT_SOCKET.into())
}

fn test(file: &str, tcp: bool, json: Json, socket: Option<&Path>) -> Result<(), Failure> {
    let (_, plan) = load(file)?;
    let up: view::Status = Client::new(&socket_of(&plan.name, socket)).get("/v1/status")?;
    if up.name != plan.name {
        // its nodes may have the same names
        return Err(Failure {
            code: UNREACHABLE,
            text: format!(
                "lab `{}` is not up, and the daemon that answers runs `{}`; `pollux lab up {file}` starts it",
                plan.name, up.name
            ),
        });
    }
    let report = lab::test(&plan, tcp);
    if json.json {
        print_json(&report)?;
    } else {
        print(&report.text())?;
    }
    match (report.ok, report.pings.is_empty()) {
        (true, _) => Ok(()),
        (false, true) => Err(Failure::new(
            "nothing to test: no two ports of one domain have addresses in one subnet; add `ip: [10.0.0.1/24]`",
        )),
        (false, false) => Err(Failure::new("the lab has failures")),
    }
}

fn down(which: Option<&str>, socket: Option<&Path>) -> Result<(), Failure> {
    let name = match which {
        Some(text) => lab::which::named(text)?,
        None => lab::which::listening(socket.unwrap_or(Path::new(DEFAULT_SOCKET)))?,
    };
    let down = lab::down(&name)?;
    if let Some(killed) = &down.killed {
        eprintln!("{killed}");
    }
    for cleaned in &down.cleaned {
        eprintln!("removed what a dead switch had left: {cleaned}");
    }
    for lab::Process { pid, command, node } in &down.left {
        eprintln!("still running in node {node}: {command} (pid {pid}); the namespace goes when it ends");
    }
    match down.stopped {
        Some(stopped) if stopped.free != stopped.total => Err(Failure::new(format!(
            "{} of {} frames were missing at the end",
            stopped.total - stopped.free,
            stopped.total
        ))),
        stopped => {
            // nothing is left of the lab
            let _ = std::fs::remove_file(lab::log_file(&name));
            let home = stopped.map_or_else(String::new, |it| format!("; all {} frames came home", it.total));
            print(&format!("lab `{name}` is down{home}\n"))
        }
    }
}
