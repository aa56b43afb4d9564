//! RFC 2544 between two ports: throughput (no loss, and 0.5 %), latency at shares of it, back-to-back frames, recovery from
//! overload.
//!
//! One direction, A to B, evenly spaced frames. Every subject gets the same searches; every trial is checked frame by frame
//! and against all counters. Subjects with vhost-user ports have guests as stations, and tables of their own. Without a switch
//! (`self-test`) the figures are the limits of generator and sink.

mod between;
mod one;
mod tables;

pub use one::{rate_facts, whole};

use super::among;
use crate::cli::Options;
use crate::failure::Result;
use crate::report::Section;
use crate::rig::guests::Middle;
use crate::rig::{Poll, Ports, Subject};
use crate::rounds::Course;
use crate::tester::{Ceilings, Effort};
use crate::words::Size;
use crate::world::World;
use ::traffic::Sizes;
use between::Between;
use one::One;

const SUBJECTS: [Between; 10] = [
    Between::Interfaces(Subject::Pollux(Ports::Veth, Poll::Busy)),
    Between::Interfaces(Subject::Pollux(Ports::AfXdp, Poll::Busy)),
    Between::Interfaces(Subject::Pollux(Ports::Tap, Poll::Busy)),
    Between::Interfaces(Subject::Testpmd),
    Between::Interfaces(Subject::Ovs),
    Between::Interfaces(Subject::Bridge),
    Between::Interfaces(Subject::Macvlan),
    Between::Guests(Middle::Pollux),
    Between::Guests(Middle::Testpmd),
    Between::Guests(Middle::Ovs),
];
const SHORTEST: [Size; 1] = [Size(Sizes::Fixed(64))];
/// Those of `all`.
pub const SIZES: [Size; 5] = [
    Size(Sizes::Fixed(64)),
    Size(Sizes::Fixed(512)),
    Size(Sizes::Fixed(1518)),
    Size(Sizes::Imix),
    Size(Sizes::Fixed(9000)),
];

/// All subjects with the selected sizes; 64 bytes by default.
pub fn measure(world: &World, options: &Options, sizes: &[Size]) -> Result<Vec<Section>> {
    let subjects = among(SUBJECTS.into_iter().filter(|subject| subject.is_installed()), options)?;
    run(world, options, &subjects, sizes)
}

/// Generator and sink at the two ends of a veth pair, and as two directly connected guests.
pub fn self_test(world: &World, options: &Options) -> Result<Vec<Section>> {
    run(world, options, &[Between::Interfaces(Subject::Direct), Between::Wire], &[])
}

fn run(world: &World, options: &Options, subjects: &[Between], sizes: &[Size]) -> Result<Vec<Section>> {
    let sizes = match sizes {
        [] => &SHORTEST[..],
        asked => asked,
    };
    let mut sections = tables::empty(subjects);
    let (effort, mut ceilings) = (Effort::of(options), Ceilings::default());
    let course = Course { rounds: options.rounds, subjects, works: sizes };
    course.run_all(&mut sections, |subject, size| {
        if !subject.fits(*size) {
            return Ok(Vec::new());
        }
        let ends = subject.ends();
        let ceiling = ceilings.of(world, effort, ends, size.0)?;
        One { world, effort, size: *size, ends, ceiling }.run(*subject)
    });
    sections.retain(|section| !section.series.is_empty() || !section.faults.is_empty());
    Ok(sections)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_they_are_written() {
        assert_eq!("64".parse(), Ok(Size(Sizes::Fixed(64))));
        assert_eq!("IMIX".parse(), Ok(Size(Sizes::Imix)));
        assert!("63".parse::<Size>().unwrap_err().contains("imix"));
        assert!("9019".parse::<Size>().is_err());
        assert_eq!(SIZES.map(|size| size.to_string()).join(" "), "64 B 512 B 1518 B IMIX 9000 B");
    }
}
