//! Bars with their ranges: a drawing per work, a bar per subject. The bar ends at the median; the box lies between the
//! quartiles, the whisker between the least and the greatest round.

use super::axis::{Axis, short};
use super::svg::Svg;
use crate::report::{Section, Series, figure};
use crate::sample::spread;

const WIDTH: f64 = 540.0;
/// Where bars begin and end.
const LEFT: f64 = 168.0;
const RIGHT: f64 = 412.0;
/// Columns right of the bars end here.
const VALUES: f64 = 478.0;
const RATIOS: f64 = 536.0;
const TOP: f64 = 44.0;
const ROW: f64 = 23.0;
const BAR: f64 = 13.0;

/// A drawing per work.
pub fn bars(section: &Section) -> String {
    let highest = highest(section.series.iter());
    let works = section.works();
    let drawings = works.iter().map(|work| {
        let series: Vec<&Series> = section.series.iter().filter(|series| series.work == *work).collect();
        let own = self::highest(series.iter().copied());
        // works are compared by eye unless that would leave nothing to see
        one(section, work, &series, if own * 4.0 < highest { own } else { highest })
    });
    format!("<div class=\"grid\">{}</div>", drawings.collect::<String>())
}

/// Where the axis ends: an outlier of one round must not press all the others flat.
fn highest<'a>(series: impl Iterator<Item = &'a Series>) -> f64 {
    let spreads: Vec<_> = series.map(|series| spread(&series.values)).filter(|of| of.n > 0).collect();
    let most = |of: fn(&crate::sample::Spread) -> f64| spreads.iter().map(of).fold(0.0, f64::max);
    most(|of| of.max).min(1.3 * most(|of| of.median))
}

fn one(section: &Section, work: &str, series: &[&Series], highest: f64) -> String {
    let bottom = TOP + ROW * series.len() as f64;
    let mut svg = Svg::new(WIDTH, bottom + 24.0);
    let axis = Axis::linear(highest, LEFT, RIGHT);
    svg.text("work", [0.0, 16.0], work);
    svg.text("head end", [VALUES, 34.0], &section.unit);
    let reference = section.references.iter().find(|name| section.find(name, work).is_some());
    if let Some(reference) = reference {
        svg.text("head end", [RATIOS, 16.0], &format!("÷ {reference}"));
    }
    for mark in axis.marks() {
        let x = axis.at(mark);
        svg.line("rule", [x, TOP - 4.0], [x, bottom]);
        svg.text("mark middle", [x, bottom + 15.0], &short(mark));
    }
    for (n, series) in series.iter().enumerate() {
        row(&mut svg, section, series, &axis, TOP + ROW * n as f64);
    }
    svg.finish(&format!("{}: {work}", section.name))
}

fn row(svg: &mut Svg, section: &Section, series: &Series, axis: &Axis, top: f64) {
    let of = spread(&series.values);
    let middle = top + BAR / 2.0;
    let class = if series.is_ours() { "ours" } else { "peer" };
    let words = format!(
        "{}: median {} {}, quartiles {}–{}, range {}–{}, {} rounds",
        series.subject,
        figure(of.median),
        section.unit,
        figure(of.low),
        figure(of.high),
        figure(of.min),
        figure(of.max),
        of.n
    );
    svg.explained(&words, |svg| {
        svg.text(&format!("end name {class}"), [LEFT - 8.0, middle + 4.0], &series.subject);
        if of.n == 0 {
            svg.text("bad", [LEFT + 4.0, middle + 4.0], "failed");
            return;
        }
        svg.rect(&format!("bar {class}"), [LEFT, top], [axis.at(of.median) - LEFT, BAR]);
        let [low, high, min, max] = [of.low, of.high, of.min, of.max].map(|value| axis.at(value));
        svg.line("range", [min, middle], [max, middle]);
        svg.rect("box", [low, top + 3.0], [high - low, BAR - 6.0]);
        svg.text(&format!("end value {class}"), [VALUES, middle + 4.0], &figure(of.median));
        if let Some((_, ratio)) = section.ratios(series).find(|(_, ratio)| ratio.is_finite()) {
            svg.text("end ratio", [RATIOS, middle + 4.0], &format!("{ratio:.2}"));
        }
    });
}
