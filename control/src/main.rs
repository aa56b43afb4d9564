//! The `pollux` command.

#![forbid(unsafe_code)]

use clap::Parser;
use control::cli::Cli;
use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(control::cli::command::main(Cli::parse()))
}
