//! Frames per second between the two vhost-user ports of one guest.

use super::{among, asked, pipeline};
use crate::cli::Options;
use crate::failure::Result;
use crate::report::Section;
use crate::rig::guests::{Loop, Middle};
use crate::rig::ovs_installed;
use crate::rounds::{Course, Reading};
use crate::world::World;
use std::fmt;

const SUBJECTS: [Middle; 3] = [Middle::Pollux, Middle::Testpmd, Middle::Ovs];

/// The least that a switch does with every frame: two copies.
const COPIES: &str = "memcpy, two copies";

/// Length of frames without FCS.
struct Size(u32);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // the shortest frame is called by its length on the wire
        write!(f, "{} B", if self.0 == 60 { 64 } else { self.0 })
    }
}

pub fn measure(world: &World, options: &Options) -> Result<Section> {
    let possible = SUBJECTS.into_iter().filter(|subject| *subject != Middle::Ovs || ovs_installed());
    let subjects = among(possible, options)?;
    let mut section = Section {
        name: "vhost".into(),
        title:
            "Closed loop over two vhost-user ports: testpmd virtio-user io with 8 bursts per port in flight on core 0, \
                switch on core 1; frames the guest received. `memcpy` is not a switch: two copies of a frame between \
                chunks of the arena, on core 1 alone, measured after the others."
                .into(),
        unit: "Mpps".into(),
        references: [Middle::Testpmd, Middle::Ovs].map(|middle| middle.to_string()).into(),
        ..Section::default()
    };
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let works = [Size(60), Size(1500)];
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &works };
    course.run(&mut section, |subject, size| {
        let mut rig = Loop::start(world, *subject, size.0)?;
        let (value, facts) = rig.rate(options.seconds)?;
        Ok(Reading { value, facts, findings: rig.end()?, ..Reading::default() })
    });
    if asked(&COPIES, &options.only) {
        section.references.push(COPIES.to_owned());
        let course = Course { rounds: options.rounds, subjects: &[COPIES], works: &works };
        course.run(&mut section, |_, size| two_copies(size.0));
    }
    Ok(section)
}

fn two_copies(bytes: u32) -> Result<Reading> {
    let cycles = pipeline::ask(&["cycles", "--baseline", "memcpy", "--bytes", &bytes.to_string()])?;
    let value = pipeline::ask(&["hz"])? / (2.0 * cycles) / 1e6;
    Ok(Reading { value, ..Reading::default() })
}
