//! `pollux-bench`: Pollux and its peers on the same work, on the same machine, in the same run.
//!
//! Absolute figures of a shared or virtual machine mean little, so every subject of a case is measured once per round,
//! one after the other (A B C A B C ...), and what counts is the ratio within a round. The table shows medians.
//!
//! The program has two halves. The outer one ([`outside`]) looks at the machine, reserves huge pages and starts the
//! inner one in namespaces of its own: network, mounts, processes. The inner half builds topologies and measures.
//! Whatever happens to either, the kernel ends all processes and removes all interfaces with those namespaces; huge
//! pages and the directory are given back by the outer half. No interface of the machine is ever in reach.

#![forbid(unsafe_code)]

mod bpf;
mod case;
mod cli;
mod compare;
mod cpu;
mod failure;
mod goals;
mod host;
mod outside;
mod process;
mod record;
mod report;
mod rig;
mod rounds;
mod sample;
mod soak;
mod tester;
mod traffic;
mod words;
mod world;

use clap::Parser;
use cli::{Cli, Command};
use failure::{During, Result};
use report::Results;
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = match &cli.command {
        Command::Report { results, output } => page(results, output),
        Command::Compare { old, new } => return code(compared(old, new), 2),
        _ if cli.inside.is_some() => case::inside(&cli),
        _ => outside::outside(&cli),
    };
    code(done, 1)
}

fn code(done: Result<bool>, failed: u8) -> ExitCode {
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("pollux-bench: {failure}");
            ExitCode::from(failed)
        }
    }
}

fn page(results: &Path, output: &Path) -> Result<bool> {
    let results = Results::read(results)?;
    std::fs::write(output, results.page()).during(output.display())?;
    Ok(true)
}

/// Whether nothing of ours got slower.
fn compared(old: &Path, new: &Path) -> Result<bool> {
    let comparison = compare::compare(&Results::read(old)?, &Results::read(new)?)?;
    print!("{comparison}");
    Ok(comparison.is_good())
}
