//! Drawings with lines: how cost grows, and how latencies are distributed.

use super::axis::{Axis, short};
use super::svg::{Svg, escape};
use crate::report::{Latency, Section, Series, figure};
use crate::sample::spread;

const WIDTH: f64 = 540.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 526.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 256.0;

/// The class that gives a subject of a section its colour: ours and theirs have families of their own.
pub fn colour(section: &Section, subject: &str) -> String {
    let family = |ours: bool| {
        section.subjects().into_iter().filter(move |name| name.starts_with("pollux") == ours).collect::<Vec<_>>()
    };
    let ours = subject.starts_with("pollux");
    let place = family(ours).iter().position(|name| *name == subject).unwrap_or(0);
    format!("{}{}", if ours { "o" } else { "p" }, place % 6)
}

/// Which line is whose.
pub fn legend(section: &Section) -> String {
    let item = |subject: &str| {
        let colour = colour(section, subject);
        format!(
            "<span><svg viewBox=\"0 0 22 8\" class=\"key\"><line class=\"line {colour}\" x1=\"1\" y1=\"4\" x2=\"21\" y2=\"4\"/></svg>{}</span>",
            escape(subject)
        )
    };
    format!("<p class=\"legend\">{}</p>", section.subjects().into_iter().map(item).collect::<String>())
}

/// Figures over the works' places on the axis, with the quartiles as a band.
pub fn curve(section: &Section, label: &str, log: bool) -> String {
    let xs: Vec<f64> = section.series.iter().filter_map(|series| series.x).collect();
    let (low, high) = xs.iter().fold((f64::INFINITY, 0.0), |(low, high): (f64, f64), x| (low.min(*x), high.max(*x)));
    if xs.is_empty() {
        return String::new();
    }
    let x = if log { Axis::log(low, high, LEFT, RIGHT) } else { Axis::between(low, high, LEFT, RIGHT) };
    let y = Axis::linear(section.largest(), BOTTOM, TOP);
    let mut svg = Svg::new(WIDTH, HEIGHT);
    frame(&mut svg, label, &section.unit);
    across(&mut svg, &y.marks().into_iter().map(|mark| (y.at(mark), short(mark))).collect::<Vec<_>>());
    let mut places = xs;
    places.sort_by(f64::total_cmp);
    places.dedup();
    let marks = if places.len() <= 9 { places } else { x.marks() };
    up(&mut svg, &marks.into_iter().map(|mark| (x.at(mark), short(mark))).collect::<Vec<_>>());
    for subject in section.subjects() {
        let mut points: Vec<&Series> =
            section.series.iter().filter(|series| series.subject == subject && series.x.is_some()).collect();
        points.sort_by(|a, b| a.x.unwrap_or(0.0).total_cmp(&b.x.unwrap_or(0.0)));
        trace(&mut svg, section, &points, (&x, &y));
    }
    format!("<div class=\"wide\">{}</div>{}", svg.finish(&format!("{} by {label}", section.name)), legend(section))
}

fn trace(svg: &mut Svg, section: &Section, points: &[&Series], (x, y): (&Axis, &Axis)) {
    let Some(subject) = points.first().map(|series| series.subject.as_str()) else { return };
    let colour = colour(section, subject);
    let spreads = points.iter().map(|series| (series, x.at(series.x.unwrap_or(0.0)), spread(&series.values)));
    let known: Vec<_> = spreads.filter(|(_, _, of)| of.n > 0).collect();
    let high = known.iter().map(|(_, x, of)| [*x, y.at(of.high)]);
    let low = known.iter().rev().map(|(_, x, of)| [*x, y.at(of.low)]);
    svg.area(&format!("band {colour}"), &high.chain(low).collect::<Vec<_>>());
    svg.path(&format!("line {colour}"), &known.iter().map(|(_, x, of)| [*x, y.at(of.median)]).collect::<Vec<_>>());
    for (series, x, of) in known {
        let words = format!("{subject}, {}: {} {}", series.work, figure(of.median), section.unit);
        svg.explained(&words, |svg| svg.dot(&format!("dot {colour}"), [x, y.at(of.median)], 3.0));
    }
}

/// Shares of the frames that are marked: each step to the next but the first is ten times rarer.
const SHARES: [(f64, &str); 6] =
    [(0.0, "lowest"), (0.5, "P50"), (0.9, "P90"), (0.99, "P99"), (0.999, "P99.9"), (0.9999, "P99.99")];

/// How latencies are distributed: a drawing per work.
pub fn distributions(section: &Section) -> String {
    let drawn: String = section
        .works()
        .iter()
        .map(|work| {
            let of_work = section.series.iter().filter(|series| series.work == *work);
            let latencies: Vec<(&Series, &Latency)> =
                of_work.filter_map(|series| Some((series, series.latency.as_ref()?))).collect();
            if latencies.is_empty() { String::new() } else { distribution(section, work, &latencies) }
        })
        .collect();
    if drawn.is_empty() { drawn } else { format!("<div class=\"grid\">{drawn}</div>{}", legend(section)) }
}

fn distribution(section: &Section, work: &str, latencies: &[(&Series, &Latency)]) -> String {
    let lowest = latencies.iter().map(|(_, latency)| latency.min()).min().unwrap_or(1).max(1);
    let highest = latencies.iter().map(|(_, latency)| latency.value_at_quantile(0.9999)).max().unwrap_or(1);
    let x = Axis::log(lowest as f64 / 1e3, highest as f64 / 1e3, LEFT, RIGHT);
    let y = Axis::linear(rarity(0.9999), BOTTOM, TOP);
    let mut svg = Svg::new(WIDTH, HEIGHT);
    frame(&mut svg, "µs", work);
    across(&mut svg, &SHARES.map(|(share, name)| (y.at(rarity(share)), name.to_owned())));
    up(&mut svg, &x.marks().into_iter().map(|mark| (x.at(mark), short(mark))).collect::<Vec<_>>());
    for (series, latency) in latencies {
        let at = |share: f64| latency.value_at_quantile(share) as f64 / 1e3;
        let points: Vec<[f64; 2]> = shares(latency.len()).map(|share| [x.at(at(share)), y.at(rarity(share))]).collect();
        let words = format!("{}: P50 {} µs, P99 {} µs", series.subject, figure(at(0.5)), figure(at(0.99)));
        let class = format!("line {}", colour(section, &series.subject));
        svg.explained(&words, |svg| svg.path(&class, &points));
    }
    svg.finish(&format!("{}, {work}: latencies", section.name))
}

/// How many powers of ten rarer than always a longer time is.
fn rarity(share: f64) -> f64 {
    -(1.0 - share).log10()
}

/// Shares as dense as the drawing can show, up to the rarest time that `n` times can tell.
fn shares(n: u64) -> impl Iterator<Item = f64> {
    let most = (n.max(2) as f64).log10().min(rarity(0.9999));
    (0..=80).map(move |step| 1.0 - 10f64.powf(-most * f64::from(step) / 80.0))
}

/// What both axes are of.
fn frame(svg: &mut Svg, below: &str, above: &str) {
    svg.text("work", [0.0, 16.0], above);
    svg.text("head end", [RIGHT, HEIGHT - 6.0], below);
}

/// Marks of the axis that goes up, with lines across.
fn across(svg: &mut Svg, marks: &[(f64, String)]) {
    for (y, text) in marks {
        svg.line("rule", [LEFT, *y], [RIGHT, *y]);
        svg.text("mark end", [LEFT - 8.0, y + 4.0], text);
    }
}

/// Marks of the axis that goes across.
fn up(svg: &mut Svg, marks: &[(f64, String)]) {
    let mut free = f64::NEG_INFINITY;
    for (x, text) in marks {
        svg.line("rule", [*x, BOTTOM], [*x, BOTTOM + 4.0]);
        // words that would touch the ones before are left out
        let half = 3.4 * text.chars().count() as f64;
        if x - half > free {
            svg.text("mark middle", [*x, BOTTOM + 18.0], text);
            free = x + half + 4.0;
        }
    }
}
