//! The command line as typed, and in [`command`] what it does.

pub mod command;

use clap::{Args, Parser, Subcommand};
use std::path::PathBuf;

/// Where the daemon listens unless told otherwise.
pub const DEFAULT_SOCKET: &str = "/run/pollux/pollux.sock";

const EXAMPLES: &str = "\
Examples:
  pollux check lab.yaml          what is wrong with a file, without privileges
  pollux lab up lab.yaml         make its namespaces and switch between them
  pollux stats -j                counters as JSON

Exit codes: 0 ok, 1 failed, 2 usage, 3 daemon not reachable, 4 permission";

/// A poll-mode userspace packet switch.
#[derive(Debug, Parser)]
#[command(name = "pollux", version, after_help = EXAMPLES, arg_required_else_help = true)]
pub struct Cli {
    /// Socket of the daemon [env: POLLUX_SOCKET] [default: /run/pollux/pollux.sock, for `lab` that of the lab]
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

impl Cli {
    /// The socket that `--socket` or the environment names; an empty variable names none.
    #[must_use]
    pub fn named_socket(&self) -> Option<PathBuf> {
        let of_environment = || std::env::var_os("POLLUX_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from);
        self.socket.clone().or_else(of_environment)
    }
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Switch in the foreground until SIGINT or SIGTERM; leaves nothing behind
    Run(Run),
    /// Say what is wrong with a file; needs no privileges and changes nothing
    Check {
        /// The configuration; `-` is standard input
        file: String,
    },
    /// Print the JSON Schema of the configuration, for editors
    Schema,
    /// What runs, since when, on what memory and cores
    Status(Json),
    /// Ports, their link and what drives them; with a name, all about that port
    Ports {
        /// Only this port
        name: Option<String>,
        /// Output
        #[command(flatten)]
        json: Json,
    },
    /// Known addresses; add, remove and flush them
    Fdb {
        /// Output
        #[command(flatten)]
        json: Json,
        /// Change instead of show
        #[command(subcommand)]
        change: Option<FdbChange>,
    },
    /// Counters of ports and workers, drops by reason
    Stats(Json),
    /// What guards and the forwarding table noticed
    Events(Json),
    /// Multicast groups that snooping knows, and the ports that joined them
    Groups(Json),
    /// Change a domain of the running switch
    #[command(subcommand)]
    Domain(DomainChange),
    /// Add, change or remove a port of the running switch
    #[command(subcommand)]
    Port(PortChange),
    /// A lab: namespaces joined by the switch
    #[command(subcommand)]
    Lab(Lab),
}

/// Arguments of `run`.
#[derive(Debug, Args)]
pub struct Run {
    /// The configuration; `-` is standard input
    #[arg(short, long = "config", value_name = "FILE")]
    pub config: String,
    /// Set by `lab up` for its background half: the text of FILE on standard input, own session, "ready" or the error on
    /// standard output
    #[arg(long, hide = true)]
    pub detached: bool,
}

/// How the answer is printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct Json {
    /// JSON instead of a table
    #[arg(short = 'j', long = "json")]
    pub json: bool,
}

/// Addresses.
#[derive(Debug, Subcommand)]
pub enum FdbChange {
    /// Tie an address to a port: it does not age
    Add {
        /// The domain
        domain: String,
        /// The address
        mac: String,
        /// The port it lives behind
        #[arg(required_unless_present = "filter")]
        port: Option<String>,
        /// Its VLAN [default: that of the port's frames without a tag]
        #[arg(long)]
        vlan: Option<u16>,
        /// It does not move either, when its station is seen elsewhere
        #[arg(long)]
        sticky: bool,
        /// Drop frames from and to it instead, wherever they come from
        #[arg(long, conflicts_with_all = ["port", "sticky"])]
        filter: bool,
    },
    /// Forget an address
    Del {
        /// The domain
        domain: String,
        /// The address
        mac: String,
        /// Its VLAN [default: all]
        #[arg(long)]
        vlan: Option<u16>,
    },
    /// Forget all learned addresses, or those that match
    Flush {
        /// Of this domain
        #[arg(long)]
        domain: Option<String>,
        /// Behind this port
        #[arg(long)]
        port: Option<String>,
        /// In this VLAN
        #[arg(long)]
        vlan: Option<u16>,
        /// Of this station
        #[arg(long)]
        mac: Option<String>,
        /// learned, static, sticky or filter
        #[arg(long)]
        kind: Option<String>,
    },
}

/// Domains of the running switch.
#[derive(Debug, Subcommand)]
pub enum DomainChange {
    /// Change keys while it runs: ageing=60s snooping=true guards.loops={}; KEY= is the default
    Set {
        /// Its name
        name: String,
        /// What to change, in the words of the file
        #[arg(required = true, value_name = "KEY=VALUE")]
        changes: Vec<String>,
    },
}

/// Ports of the running switch.
#[derive(Debug, Subcommand)]
pub enum PortChange {
    /// Add a port
    Add {
        /// Its name
        name: String,
        /// What it is, in the words of the file: '{ kind: tap, domain: lan }'
        #[arg(long, value_name = "YAML")]
        spec: String,
    },
    /// Change keys of a port while it runs: isolated=true flood.unicast=false 'vlan={access: 10}'; KEY= is the default
    Set {
        /// Its name
        name: String,
        /// What to change, in the words of the file
        #[arg(required = true, value_name = "KEY=VALUE")]
        changes: Vec<String>,
    },
    /// Remove a port
    Del {
        /// Its name
        name: String,
    },
    /// Print the QEMU arguments that attach a guest to a vhost-user port
    QemuArgs {
        /// Its name
        name: String,
        /// The guest's memory, which must be shared
        #[arg(long, default_value = "1G", value_name = "SIZE")]
        memory: String,
    },
    /// Print the same for libvirt, as XML
    LibvirtXml {
        /// Its name
        name: String,
    },
}

/// Verbs of a lab.
#[derive(Debug, Subcommand)]
pub enum Lab {
    /// Make the namespaces, switch in the background; returns when every port is up
    #[command(aliases = ["deploy", "start"])]
    Up {
        /// The configuration; `-` is standard input
        file: String,
        /// Stay in the foreground
        #[arg(long)]
        foreground: bool,
    },
    /// Ping every ordered pair of nodes; with --tcp run iperf3 between every ordered pair of port kinds
    Test {
        /// The configuration; `-` is standard input
        file: String,
        /// Also TCP
        #[arg(long)]
        tcp: bool,
        /// Output
        #[command(flatten)]
        json: Json,
    },
    /// Stop the switch and remove everything it made; fine if it is down already
    #[command(aliases = ["destroy", "stop"])]
    Down {
        /// The configuration, whatever became of it, or the name of the lab [default: the lab that listens at --socket]
        #[arg(value_name = "FILE|NAME")]
        lab: Option<String>,
    },
}
