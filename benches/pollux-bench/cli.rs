//! The command line as typed.

use crate::words::{Axis, Size};
use clap::{Args, Parser, Subcommand};
use std::path::{Path, PathBuf};

/// Measures Pollux and its peers, side by side and in turns. Needs root and an idle machine.
#[derive(Debug, Parser)]
#[command(name = "pollux-bench", version, arg_required_else_help = true)]
pub struct Cli {
    /// What to measure.
    #[command(subcommand)]
    pub command: Command,
    /// How.
    #[command(flatten)]
    pub options: Options,
    /// Set by the outer half for the inner one: its directory
    #[arg(long, hide = true, global = true)]
    pub inside: Option<PathBuf>,
}

/// How to measure.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Rounds; every subject is measured once in each
    #[arg(long, global = true, default_value_t = 5, default_value_if("quick", "true", "3"),
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: u32,
    /// Seconds of one measurement
    #[arg(long, global = true, default_value_t = 3, default_value_if("quick", "true", "1"),
        value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub seconds: u32,
    /// A short run: three rounds of one second, fewer cases
    #[arg(long, global = true)]
    pub quick: bool,
    /// JSON instead of tables
    #[arg(short = 'j', long, global = true)]
    pub json: bool,
    /// Also writes the results to this file, for `report` and `compare`
    #[arg(long, global = true, value_name = "FILE")]
    pub save: Option<PathBuf>,
    /// Also writes a page with charts to this file
    #[arg(long, global = true, value_name = "FILE")]
    pub page: Option<PathBuf>,
    /// Measure even if the machine is busy
    #[arg(long, global = true)]
    pub force: bool,
    /// Only subjects whose name contains one of these words
    #[arg(long, global = true, value_delimiter = ',', value_name = "WORDS")]
    pub only: Vec<String>,
    /// Also measures VPP: its binary, with its plugins where an installation or a build has them
    #[arg(long, global = true, env = "POLLUX_BENCH_VPP", value_name = "PATH", value_parser = file)]
    pub vpp: Option<PathBuf>,
}

fn file(name: &str) -> Result<PathBuf, String> {
    let found = Path::new(name).canonicalize().ok().filter(|path| path.is_file());
    let remedy = "name VPP's binary, e.g. --vpp /usr/bin/vpp, or neither give --vpp nor set POLLUX_BENCH_VPP";
    found.ok_or_else(|| format!("it is no file: {remedy}"))
}

/// What to measure.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Frames per second, veth to veth by AF_XDP, against testpmd, OVS, VPP, bridge and macvlan
    Xdp,
    /// Frames per second between two vhost-user ports of one guest, against testpmd and OVS
    Vhost,
    /// iperf3 between two namespaces, one stream and four
    Tcp,
    /// Round trips every 2 ms, and the first one after 10 idle seconds
    Ping,
    /// Round trips at 1000, 20 000 and 50 000 per second, with the CPU they cost
    Rtt,
    /// CPU of an idle switch with eight ports
    Idle,
    /// CPU time per frame at a fixed 100 kpps
    Cpu,
    /// RFC 2544: throughput without loss and with 0.5 %, latency at 10, 50 and 90 % of it, back-to-back frames, recovery
    Rfc2544 {
        /// Bytes with FCS, or `imix`; without it 64
        #[arg(long, value_delimiter = ',', value_name = "SIZES")]
        sizes: Vec<Size>,
    },
    /// What generator and sink can do without a switch: the tests of RFC 2544 from one end of a veth pair to the other, and
    /// between two directly connected guests
    #[command(long_flag = "self-test")]
    SelfTest,
    /// RFC 2889 with four stations: meshed, broadcast, address caching and learning, errored frames
    Rfc2889,
    /// Cycles per frame in memory, and of the forwarding table with up to a million addresses
    Pipeline,
    /// The cost against ports, frame size, flows, fan-out, addresses, domains, workers; a curve each
    Scale {
        /// Only this axis
        #[arg(long, value_enum)]
        axis: Option<Axis>,
    },
    /// Time from exec to the last port up, and memory, by number and kind of ports
    Startup,
    /// How long traffic stops while ports and addresses come and go
    Reconfig,
    /// Mixed traffic while ports come and go; no frame may be lost, no resource may grow
    Soak {
        /// How long
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=100_000))]
        minutes: u32,
    },
    /// All, with two minutes of soak, then the goals of the design: ours beside theirs
    All,
    /// Makes a page with charts of saved results: one file, no network
    Report {
        /// What `--save` wrote
        results: PathBuf,
        /// The page
        #[arg(short, long, default_value = "report.html", value_name = "FILE")]
        output: PathBuf,
    },
    /// Says what got slower beyond the noise; exit code 1 if anything did, 2 if the files cannot be compared
    Compare {
        /// Results of before
        old: PathBuf,
        /// Results of now
        new: PathBuf,
    },
}
