//! A goal as a strip: zero at the left, theirs as small marks, ours as a large one, the aim as a line
//! with the good side shaded.

use super::axis::Axis;
use super::svg::Svg;
use crate::goals::Goal;
use crate::report::{Better, figure};

const WIDTH: f64 = 260.0;
const HEIGHT: f64 = 26.0;
const MIDDLE: f64 = 13.0;

/// The drawing of a goal; nothing if it was not measured.
pub fn strip(goal: &Goal) -> String {
    let Some(ours) = goal.value else { return String::new() };
    let others = goal.theirs.iter().map(|peer| peer.value);
    let most = others.chain([ours]).chain(goal.line).fold(0.0, f64::max);
    let axis = Axis::linear(most * 1.06, 4.0, WIDTH - 4.0);
    let mut svg = Svg::new(WIDTH, HEIGHT);
    let (left, right) = (axis.at(0.0), WIDTH - 4.0);
    svg.line("range", [left, MIDDLE], [right, MIDDLE]);
    if let Some(line) = goal.line {
        let x = axis.at(line);
        let (from, to) = match goal.better {
            Better::More => (x, right),
            Better::Less => (left, x),
        };
        svg.rect("good", [from, 4.0], [to - from, HEIGHT - 8.0]);
        svg.explained(&format!("aim: {}", figure(line)), |svg| svg.line("aim", [x, 2.0], [x, HEIGHT - 2.0]));
    }
    for peer in &goal.theirs {
        let words = format!("{}: {}", peer.name, figure(peer.value));
        svg.explained(&words, |svg| svg.dot("peer", [axis.at(peer.value), MIDDLE], 4.0));
    }
    svg.explained(&format!("pollux: {}", figure(ours)), |svg| svg.dot("ours", [axis.at(ours), MIDDLE], 6.0));
    svg.finish(goal.what)
}
