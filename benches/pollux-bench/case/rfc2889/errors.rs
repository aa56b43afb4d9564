//! Errored frames (5.9). Bad FCS, alignment and dribble errors belong to a physical link and are left out. Frames shorter than
//! 60 bytes are no error here: virtual ports do not pad.

use super::ERRORS;
use crate::failure::Result;
use crate::rig::star::address;
use crate::rounds::{Reading, Taken};
use crate::tester::Tester;
use ::traffic::Mac;

const FRAMES: usize = 100;
/// "Local experimental 1".
const TYPE: [u8; 2] = [0x88, 0xb5];
const FLOW_CONTROL: [u8; 2] = [0x88, 0x08];
const TAG: [u8; 2] = [0x81, 0x00];

/// All errors, by name.
fn wrong() -> Vec<(&'static str, Vec<u8>)> {
    let (to, from) = (address(1), address(0));
    vec![
        ("source is a group", frame(to, [3, 0, 0, 0, 0, 1], TYPE, 60)),
        ("source is everybody", frame(to, [0xff; 6], TYPE, 60)),
        ("source is zero", frame(to, [0; 6], TYPE, 60)),
        ("cut within a tag", frame(to, from, TAG, 15)),
        ("PAUSE", frame([1, 0x80, 0xc2, 0, 0, 1], from, FLOW_CONTROL, 60)),
        ("reserved group address", frame([1, 0x80, 0xc2, 0, 0, 3], from, TYPE, 60)),
    ]
}

fn frame(to: Mac, from: Mac, kind: [u8; 2], len: usize) -> Vec<u8> {
    let mut frame = [&to[..], &from, &kind].concat();
    frame.resize(len, 0);
    frame
}

pub fn all(tester: &mut Tester) -> Result<Vec<Taken>> {
    let one = |(name, frame): (&str, Vec<u8>)| {
        let counts = tester.inject(0, &frame, FRAMES)?;
        let value = counts.iter().sum::<u64>() as f64 / FRAMES as f64 * 100.0;
        let reading = Ok(Reading { value, ..Reading::default() });
        Ok(Taken { section: ERRORS, work: name.into(), reading })
    };
    wrong().into_iter().map(one).collect()
}
