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
mod startup;
mod tcp;
mod vhost;
mod xdp;

pub use rfc2544::Size;
pub use scale::Axis;

use crate::cli::{Cli, Command, Options};
use crate::failure::{During, Failure, Result};
use crate::outside::results_in;
use crate::report::{Results, Section};
use crate::rig::{Subject, ovs_installed};
use crate::world::World;
use crate::{host, soak};
use std::fmt::Display;
use std::fs;
use std::mem::discriminant;

/// Measures; whether nothing was wrong.
pub fn inside(cli: &Cli) -> Result<bool> {
    let directory = cli.inside.as_deref().ok_or_else(|| Failure("the inner half needs a directory".into()))?;
    let mut fingerprint = host::fingerprint();
    fingerprint.insert("rounds".into(), format!("{} of {} s", cli.options.rounds, cli.options.seconds).into());
    if !cli.options.json {
        println!("{}", host::lines(&fingerprint));
    }
    let world = World::enter(directory)?;
    if let Command::Soak { minutes } = cli.command {
        return soak::soak(&world, minutes);
    }
    let sections = sections(&cli.command, &world, &cli.options)?;
    let results = Results::new(fingerprint, sections);
    let file = results_in(directory);
    fs::write(&file, results.json()).during(file.display())?;
    Ok(results.sound())
}

/// The cases of `all`, and whether they are among those of `all --quick`.
const CASES: &[(Command, bool)] = &[
    (Command::Pipeline, true),
    (Command::Xdp, true),
    (Command::Vhost, true),
    (Command::Tcp, true),
    (Command::Ping, true),
    (Command::Rtt, true),
    (Command::Idle, true),
    (Command::Cpu, true),
    // searches, curves: minutes each
    (Command::Rfc2544 { sizes: Vec::new() }, false),
    (Command::SelfTest, false),
    (Command::Rfc2889, false),
    (Command::Scale { axis: None }, false),
    (Command::Startup, false),
    (Command::Reconfig, false),
];

/// Runs cases one after the other; each table is printed when it is complete.
fn sections(command: &Command, world: &World, options: &Options) -> Result<Vec<Section>> {
    let asked = |(case, quick): &&(Command, bool)| match command {
        Command::All => *quick || !options.quick,
        // a scale of one axis is one, too
        one => discriminant(case) == discriminant(one),
    };
    let axis = if let Command::Scale { axis } = command { *axis } else { None };
    let mut sections = Vec::new();
    for (case, _) in CASES.iter().filter(asked) {
        let more = match case {
            Command::Pipeline => vec![pipeline::pipeline(options)?, pipeline::fdb(options)?],
            Command::Xdp => vec![xdp::measure(world, options)?],
            Command::Vhost => vec![vhost::measure(world, options)?],
            Command::Tcp => vec![tcp::measure(world, options)?],
            // round trips are in `rtt` too, without the wake-ups of `ping`
            Command::Ping if options.quick => vec![ping::after_idleness(world, options)?],
            Command::Ping => vec![ping::regular(world, options)?, ping::after_idleness(world, options)?],
            Command::Rtt => vec![ping::at_rates(world, options)?],
            Command::Idle => vec![idle::measure(world, options)?],
            Command::Rfc2544 { sizes } => rfc2544::measure(world, options, asked_sizes(command).unwrap_or(sizes))?,
            Command::SelfTest => rfc2544::self_test(world, options)?,
            Command::Rfc2889 => rfc2889::measure(world, options)?,
            Command::Scale { .. } => scale::measure(world, options, axis)?,
            Command::Reconfig => vec![reconfig::measure(world, options)?],
            Command::Startup => startup::measure(world, options)?,
            _ => vec![cpu::measure(world, options)?],
        };
        if !options.json {
            more.iter().for_each(|section| println!("{}", section.markdown()));
        }
        sections.extend(more);
    }
    Ok(sections)
}

/// The sizes of the command, if it is the one that has any.
fn asked_sizes(command: &Command) -> Option<&[Size]> {
    match command {
        Command::Rfc2544 { sizes } => Some(sizes),
        _ => None,
    }
}

/// The subjects that are installed and asked for.
fn chosen(subjects: &[Subject], options: &Options) -> Result<Vec<Subject>> {
    let possible = subjects.iter().copied().filter(|subject| *subject != Subject::Ovs || ovs_installed());
    let chosen: Vec<Subject> = possible.filter(|subject| asked(subject, &options.only)).collect();
    if chosen.is_empty() {
        return Err(Failure(format!("no subject of this case is named {}", options.only.join(", "))));
    }
    Ok(chosen)
}

fn asked(subject: &impl Display, only: &[String]) -> bool {
    only.is_empty() || only.iter().any(|word| subject.to_string().contains(word.as_str()))
}

/// A number of things, for a table.
fn names(subjects: &[Subject]) -> Vec<String> {
    subjects.iter().map(ToString::to_string).collect()
}
