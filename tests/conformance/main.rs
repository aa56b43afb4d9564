//! The kernel and we decide alike: each scenario is played on real macvlan devices or a real bridge, and on `pollux
//! run`; what comes out of which port for each frame is compared. The kernel that runs the tests is the referee, and where
//! it has no VLAN filtering a kernel that has runs in user space (User-Mode Linux).
//!
//! The scenarios are the text files here ([`script`] is their language). Where we differ on purpose is in
//! `docs/differences.md`, with the reason; a difference that is not listed there fails, and so does a listed one that is
//! none.

#[path = "../common/mod.rs"]
mod common;
#[allow(dead_code, reason = "the end-to-end tests use the rest")]
#[path = "../e2e/lab.rs"]
mod lab;

mod differences;
mod frames;
mod kernel;
mod pollux;
mod rig;
mod script;
mod uml;
mod wire;

use common::world::world;
use kernel::{Kernel, alone};
use pollux::Pollux;
use rig::play;
use script::{Outcome, Scenario, Sent, parse};

fn on_this_kernel(scenario: &Scenario) -> Vec<Outcome> {
    alone(|| play(scenario, &mut Kernel::build(scenario)))
}

/// What the kernel does with all scenarios of a file; `None` where no kernel can be asked.
fn on_a_kernel(file: &str, scenarios: &[Scenario]) -> Option<Vec<Vec<Outcome>>> {
    let vlans = scenarios.iter().any(|scenario| scenario.options.iter().any(|option| option == "vlan"));
    if !vlans || kernel::knows_vlans() {
        return Some(scenarios.iter().map(on_this_kernel).collect());
    }
    let answers = uml::ask(file, scenarios);
    let must = std::env::var_os("PRIVILEGED_TESTS").is_some_and(|v| v == "1");
    assert!(answers.is_some() || !must, "this kernel has no VLAN filtering; `apt-get install user-mode-linux`");
    answers
}

fn on_pollux(scenario: &Scenario) -> Vec<Outcome> {
    alone(|| {
        let mut switch = Pollux::build(scenario);
        let outcomes = play(scenario, &mut switch);
        switch.stop();
        outcomes
    })
}

/// Where what came out is not what was wanted.
fn faults(who: &str, scenario: &Scenario, got: &[Outcome], wanted: impl Fn(&Sent) -> Outcome) -> Vec<String> {
    let mut faults = Vec::new();
    for (sent, got) in scenario.frames().zip(got) {
        let wanted = wanted(sent);
        if wanted != *got {
            let [kernel, wanted, got] = [&sent.expected, &wanted, got].map(|outcome| outcome.text(&sent.tags));
            faults
                .push(format!("{}: {} => {kernel}: {who} should have: {wanted}, has: {got}", scenario.name, sent.text));
        }
    }
    faults
}

/// Plays a file on both sides.
fn compare(file: &str, text: &str) {
    world(file, || {
        let scenarios = parse(text);
        if uml::answered(&scenarios, on_this_kernel) {
            return;
        }
        let kernel = on_a_kernel(file, &scenarios);
        let mut all = Vec::new();
        for (at, scenario) in scenarios.iter().enumerate() {
            if let Some(outcomes) = &kernel {
                all.extend(faults("the kernel", scenario, &outcomes[at], |sent| sent.expected.clone()));
            }
            all.extend(faults("Pollux", scenario, &on_pollux(scenario), |sent| differences::wanted(scenario, sent)));
        }
        assert!(all.is_empty(), "{file}:\n{}", all.join("\n"));
    });
}

const FILES: [(&str, &str); 5] = [
    ("macvlan", include_str!("macvlan.txt")),
    ("bridge", include_str!("bridge.txt")),
    ("reserved", include_str!("reserved.txt")),
    ("vlan", include_str!("vlan.txt")),
    ("extensions", include_str!("extensions.txt")),
];

#[test]
fn every_listed_difference_is_one() {
    let scenarios: Vec<_> = FILES.iter().flat_map(|(_, text)| parse(text)).collect();
    let idle = differences::idle(&scenarios);
    assert!(idle.is_empty(), "docs/differences.md:\n{}", idle.join("\n"));
}

#[test]
fn macvlan() {
    compare(FILES[0].0, FILES[0].1);
}

#[test]
fn bridge() {
    compare(FILES[1].0, FILES[1].1);
}

#[test]
fn reserved() {
    compare(FILES[2].0, FILES[2].1);
}

#[test]
fn vlan() {
    compare(FILES[3].0, FILES[3].1);
}

/// What the kernel has not is played on us alone.
#[test]
fn extensions() {
    world("extensions", || {
        let scenarios = parse(FILES[4].1);
        let one = |scenario: &Scenario| faults("Pollux", scenario, &on_pollux(scenario), |sent| sent.expected.clone());
        let all: Vec<_> = scenarios.iter().flat_map(one).collect();
        assert!(all.is_empty(), "extensions:\n{}", all.join("\n"));
    });
}
