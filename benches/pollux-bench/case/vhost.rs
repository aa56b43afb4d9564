//! Frames per second between the two vhost-user ports of one guest.

use super::asked;
use crate::cli::Options;
use crate::failure::{Failure, Result};
use crate::report::Section;
use crate::rig::guests::{Loop, Middle};
use crate::rig::ovs_installed;
use crate::rounds::{Course, Reading};
use crate::world::World;
use std::fmt;

const SUBJECTS: [Middle; 3] = [Middle::Pollux, Middle::Testpmd, Middle::Ovs];

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
    let subjects: Vec<Middle> = possible.filter(|subject| asked(subject, &options.only)).collect();
    if subjects.is_empty() {
        return Err(Failure(format!("no subject of this case is named {}", options.only.join(", "))));
    }
    let mut section = Section {
        name: "vhost".into(),
        title:
            "Closed loop over two vhost-user ports: testpmd virtio-user io with 8 bursts per port in flight on core 0, \
                switch on core 1; frames the guest received."
                .into(),
        unit: "Mpps".into(),
        references: [Middle::Testpmd, Middle::Ovs].map(|middle| middle.to_string()).into(),
        ..Section::default()
    };
    section.references.retain(|reference| subjects.iter().any(|subject| subject.to_string() == *reference));
    let course = Course { rounds: options.rounds, subjects: &subjects, works: &[Size(60), Size(1500)] };
    course.run(&mut section, |subject, size| {
        let mut rig = Loop::start(world, *subject, size.0)?;
        let (value, facts) = rig.rate(options.seconds)?;
        Ok(Reading { value, facts, findings: rig.end()?, ..Reading::default() })
    });
    Ok(section)
}
