//! The cases, run by the inner half.

mod cpu;
mod idle;
mod look;
mod ping;
mod pipeline;
mod reconfig;
mod rfc2544;
mod rfc2889;
mod scale;
mod spent;
mod startup;
mod tcp;
mod vhost;
mod xdp;

use crate::cli::{Cli, Command, Options};
use crate::failure::{Failure, Result};
use crate::outside::results_in;
use crate::report::Section;
use crate::rig::{Subject, ovs_installed};
use crate::words::Axis;
use crate::world::World;
use crate::{host, record, soak};
use clap::ValueEnum;
use std::fmt::Display;

/// Measures; returns whether everything was right.
pub fn inside(cli: &Cli) -> Result<bool> {
    let directory = cli.inside.as_deref().ok_or_else(|| Failure("the inner half needs a directory".into()))?;
    let vpp = cli.options.vpp.as_deref();
    let mut fingerprint = host::fingerprint(vpp);
    fingerprint.insert("rounds".into(), format!("{} of {} s", cli.options.rounds, cli.options.seconds).into());
    if !cli.options.json {
        println!("{}", host::lines(&fingerprint));
    }
    let world = World::enter(directory, vpp)?;
    record::open(results_in(directory), fingerprint);
    sections(&cli.command, &world, &cli.options)?;
    record::close()
}

/// The cases of `all`, and whether they are among those of `all --quick`.
const CASES: &[(Command, bool)] = &[
    (Command::Pipeline, true),
    (Command::Xdp, true),
    (Command::Vhost, true),
    (Command::Tcp, true),
    // waits for ten seconds each; round trips are in `rtt` too
    (Command::Ping, false),
    (Command::Rtt, true),
    (Command::Idle, true),
    (Command::Cpu, true),
    // searches, curves: minutes each
    (Command::Rfc2544 { sizes: Vec::new() }, false),
    (Command::SelfTest, false),
    (Command::Rfc2889, false),
    (Command::Scale { axis: Some(Axis::Ports) }, false),
    (Command::Scale { axis: Some(Axis::Size) }, false),
    (Command::Scale { axis: Some(Axis::Flows) }, false),
    (Command::Scale { axis: Some(Axis::FanOut) }, false),
    (Command::Scale { axis: Some(Axis::Fdb) }, false),
    (Command::Scale { axis: Some(Axis::Domains) }, false),
    (Command::Scale { axis: Some(Axis::Workers) }, false),
    (Command::Startup, false),
    (Command::Reconfig, false),
    (Command::Soak { minutes: 2 }, false),
];

/// The cases that a command stands for.
fn cases(command: &Command, options: &Options) -> Vec<Command> {
    let whole = |case: &Command| match case {
        Command::Rfc2544 { .. } => Command::Rfc2544 { sizes: rfc2544::SIZES.to_vec() },
        case => case.clone(),
    };
    let of_all = |(case, quick): &(Command, bool)| (*quick || !options.quick).then(|| whole(case));
    match command {
        Command::All => CASES.iter().filter_map(of_all).collect(),
        Command::Scale { axis: None } => {
            Axis::value_variants().iter().map(|axis| Command::Scale { axis: Some(*axis) }).collect()
        }
        one => vec![one.clone()],
    }
}

/// Runs cases one after the other; each table is printed when it is complete. The failure of a case does not affect
/// the others.
fn sections(command: &Command, world: &World, options: &Options) -> Result<()> {
    let cases = cases(command, options);
    for case in &cases {
        let more = match measure(case, world, options) {
            Err(failure) if cases.len() > 1 => vec![failed(case, &failure)],
            done => done?,
        };
        if !options.json {
            more.iter().for_each(|section| println!("{}", section.markdown()));
        }
        record::add(more);
    }
    Ok(())
}

fn measure(case: &Command, world: &World, options: &Options) -> Result<Vec<Section>> {
    Ok(match case {
        Command::Pipeline => vec![pipeline::pipeline(options)?, pipeline::fdb(options)?],
        Command::Xdp => vec![xdp::measure(world, options)?],
        Command::Vhost => vec![vhost::measure(world, options)?],
        Command::Tcp => vec![tcp::measure(world, options)?],
        Command::Ping => vec![ping::regular(world, options)?, ping::after_idleness(world, options)?],
        Command::Rtt => vec![ping::at_rates(world, options)?],
        Command::Idle => vec![idle::measure(world, options)?],
        Command::Cpu => vec![cpu::measure(world, options)?],
        Command::Rfc2544 { sizes } => rfc2544::measure(world, options, sizes)?,
        Command::SelfTest => rfc2544::self_test(world, options)?,
        Command::Rfc2889 => rfc2889::measure(world, options)?,
        Command::Scale { axis: Some(axis) } => vec![scale::measure(world, options, *axis)?],
        Command::Reconfig => vec![reconfig::measure(world, options)?],
        Command::Startup => startup::measure(world, options)?,
        Command::Soak { minutes } => soak::soak(world, *minutes)?,
        // these combine other cases, or measure nothing here
        Command::Scale { axis: None } | Command::All => Vec::new(),
        Command::Report { .. } | Command::Compare { .. } => Vec::new(),
    })
}

/// The section of a case without results.
fn failed(case: &Command, failure: &Failure) -> Section {
    eprintln!("{case:?}: {failure}");
    Section { name: format!("{case:?}").to_lowercase().into(), faults: vec![failure.to_string()], ..Section::default() }
}

/// The subjects that are installed and selected.
fn chosen(subjects: &[Subject], options: &Options) -> Result<Vec<Subject>> {
    let possible = subjects.iter().copied().filter(|subject| match subject {
        Subject::Ovs => ovs_installed(),
        Subject::Vpp => options.vpp.is_some(),
        _ => true,
    });
    among(possible, options)
}

/// The selected ones of the possible subjects.
fn among<S: Display>(possible: impl Iterator<Item = S>, options: &Options) -> Result<Vec<S>> {
    let chosen: Vec<S> = possible.filter(|subject| asked(subject, &options.only)).collect();
    if chosen.is_empty() {
        return Err(Failure(format!("no subject of this case is named {}", options.only.join(", "))));
    }
    Ok(chosen)
}

fn asked(subject: &impl Display, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|word| subject.to_string().contains(word.as_str()))
}

/// A number of things, for a table.
fn names(subjects: &[impl ToString]) -> Vec<String> {
    subjects.iter().map(ToString::to_string).collect()
}
