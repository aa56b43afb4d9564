//! CPU time of an idle switch.

use crate::cli::Options;
use crate::cpu;
use crate::failure::Result;
use crate::report::{Better, Section};
use crate::rig::Daemon;
use crate::rounds::{Course, Reading};
use crate::world::{World, add_netns};
use std::thread::sleep;
use std::time::Duration;

const PAIRS: usize = 4;
/// New interfaces send a few frames; they have stopped by then.
const QUIET: Duration = Duration::from_secs(3);
const TIME: Duration = Duration::from_secs(10);

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let mut section = Section {
        name: "idle".into(),
        title: "CPU of the whole process over 10 s, four TAP and four veth ports up in eight namespaces, no traffic, \
                `poll: adaptive` (the default)."
            .into(),
        unit: "% of a core".into(),
        better: Better::Less,
        grain: 0.2,
        ..Section::default()
    };
    let course = Course { rounds: options.rounds, subjects: &["pollux, adaptive"], works: &["idle"] };
    let namespaces: Vec<String> = (0..PAIRS * 2).map(|n| format!("plxb-i{n}")).collect();
    for name in &namespaces {
        add_netns(name)?;
    }
    course.run(&mut section, |_, _| one(world, &namespaces));
    for name in &namespaces {
        crate::process::ip(&format!("netns del {name}"))?;
    }
    Ok(section)
}

fn one(world: &World, namespaces: &[String]) -> Result<Reading> {
    let daemon = Daemon::start(world, &configuration(namespaces))?;
    sleep(QUIET);
    let (before, frames) = (cpu::of_process(daemon.pid())?, daemon.ledger()?.received);
    sleep(TIME);
    let (after, more) = (cpu::of_process(daemon.pid())?, daemon.ledger()?.received);
    let facts = vec![("frames seen".to_owned(), (more - frames) as f64)];
    let value = (after - before) as f64 / TIME.as_secs_f64() / 1e7;
    Ok(Reading { value, facts, findings: daemon.close()?, ..Reading::default() })
}

fn configuration(namespaces: &[String]) -> String {
    let kinds = ["tap", "veth"].into_iter().cycle();
    let port = |(name, kind): (&String, &str)| format!("  {name}: {{ kind: {kind}, netns: {name}, domain: lan }}\n");
    format!(
        "name: bench\ndomains: {{ lan: {{}} }}\nports:\n{}",
        namespaces.iter().zip(kinds).map(port).collect::<String>()
    )
}
