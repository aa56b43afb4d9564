//! `pollux-pipeline`: the pipeline in memory, in cycles for `pollux-bench`, and in instructions, which are the same on a
//! busy machine as on an idle one and therefore can be a test.

#![forbid(unsafe_code)]

mod callgrind;
mod ledger;

use clap::{Parser, Subcommand};
use ledger::Ledger;
use pipeline_cases::baseline::Baseline;
use pipeline_cases::fdb::{Table, Way};
use pipeline_cases::{Case, Pipeline, features};
use std::path::PathBuf;
use std::process::ExitCode;

/// The pipeline of Pollux in memory.
#[derive(Debug, Parser)]
#[command(name = "pollux-pipeline", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Counts instructions per frame (callgrind) and fails if any case needs over 3 % more than the file says
    Check {
        /// The file
        file: PathBuf,
    },
    /// Counts and writes the file anew
    Write {
        /// The file
        file: PathBuf,
    },
    /// Cycles per frame of the plain pipeline, or of a baseline
    Cycles {
        /// Frames of a burst
        #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u8).range(1..=32))]
        burst: u8,
        /// The baseline to measure instead
        #[arg(long, value_enum)]
        baseline: Option<Baseline>,
        /// Length of the frames of a baseline
        #[arg(long, default_value_t = 64, requires = "baseline", value_parser = clap::value_parser!(u16).range(14..=1514))]
        bytes: u16,
        /// The core to run on
        #[arg(long, default_value_t = 0)]
        core: usize,
    },
    /// Cycles per frame of the forwarding table
    Fdb {
        /// How many stations it has
        #[arg(long, default_value_t = 1000)]
        stations: u32,
        /// One frame after the other
        #[arg(long)]
        single: bool,
        /// The core to run on
        #[arg(long, default_value_t = 0)]
        core: usize,
    },
    /// Cycles of the time-stamp counter per second
    Hz {
        /// The core to run on
        #[arg(long, default_value_t = 0)]
        core: usize,
    },
    /// The run that callgrind observes
    #[command(hide = true)]
    Work,
}

fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Check { file } => Ledger::read(&file).and_then(|then| callgrind::count()?.held_against(&then, &file)),
        Command::Write { file } => callgrind::count().and_then(|now| now.write(&file)),
        Command::Cycles { burst, baseline, bytes, core } => {
            pin(core);
            println!("{}", cycles(baseline, burst.into(), bytes.into()));
            Ok(())
        }
        Command::Fdb { stations, single, core } => {
            pin(core);
            println!("{}", Table::with(stations).cycles(if single { Way::Single } else { Way::Burst }));
            Ok(())
        }
        Command::Hz { core } => {
            pin(core);
            println!("{}", dataplane::lcore::hz());
            Ok(())
        }
        Command::Work => {
            work();
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(what) => {
            eprintln!("pollux-pipeline: {what}");
            ExitCode::FAILURE
        }
    }
}

fn cycles(baseline: Option<Baseline>, burst: usize, bytes: usize) -> f64 {
    match baseline {
        Some(baseline) => baseline.cycles(burst, bytes),
        None => Pipeline::new(Case::plain()).cycles(burst),
    }
}

fn pin(core: usize) {
    if !core_affinity::set_for_current(core_affinity::CoreId { id: core }) {
        eprintln!("pollux-pipeline: could not be pinned to core {core}");
    }
}

/// The cases that are counted: the plain pipeline by burst, then the features at 32.
fn cases() -> Vec<(String, Case, usize)> {
    let bursts = [1, 8].map(|n| (format!("plain, burst of {n}"), Case::plain(), n));
    let features = features().into_iter().map(|(name, case)| (name.to_owned(), case, 32));
    bursts.into_iter().chain(features).collect()
}

/// Frames of a case: enough that work per burst has its usual share.
const FRAMES: usize = 1024;

/// Every case once, its name first. Callgrind counts what happens within [`counted`], call by call.
fn work() {
    for (name, case, n) in cases() {
        let mut pipeline = Pipeline::new(case);
        // warm up: the first burst costs more
        let mut first = pipeline.burst(n, 0);
        pipeline.forward(0, &mut first);
        let mut bursts: Vec<_> = (0..FRAMES / n).map(|_| pipeline.burst(n, 0)).collect();
        counted(&mut pipeline, &mut bursts);
        println!("{name}");
    }
}

/// Callgrind knows it by its name.
#[inline(never)]
fn counted(pipeline: &mut Pipeline, bursts: &mut [dataplane::mem::Burst]) {
    for burst in bursts {
        pipeline.forward(0, burst);
    }
}
