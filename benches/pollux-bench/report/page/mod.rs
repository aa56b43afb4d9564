//! The page: results as figures, in one file that needs no network and no script.
//!
//! First the goals, then a chapter per case with its drawings, and the numbers folded away below them; the machine last.
//! Colours come from the style sheet, which knows a light and a dark set.

mod axis;
mod bars;
mod lines;
mod strip;
mod svg;

use super::{PERCENTILES, Results, Section, Series, Shape, figure};
use crate::goals::{Goal, Met, goals};
use crate::sample::{median, spread};
use svg::escape;

const STYLE: &str = include_str!("style.css");

impl Results {
    /// As a page of HTML.
    pub fn page(&self) -> String {
        let fact = |name: &str| self.host.get(name).and_then(|fact| fact.as_str()).unwrap_or("unknown");
        let chapters: String = self.sections.iter().map(chapter).collect();
        let links = self
            .sections
            .iter()
            .map(|section| format!("<a href=\"#{}\">{}</a>", anchor(&section.name), escape(&section.name)));
        format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>Pollux, measured</title>\
             <style>{STYLE}</style></head>\n<body><header><h1>Pollux, measured</h1>\
             <p class=\"sub\">{} · {} cores · Linux {} · commit {} · {}</p>{}<nav><a href=\"#goals\">goals</a>{}\
             <a href=\"#machine\">machine</a></nav></header>\n<main>{}{chapters}{}</main></body></html>\n",
            escape(fact("cpu")),
            escape(fact("cores")),
            escape(fact("kernel")),
            escape(fact("commit")),
            escape(fact("date")),
            self.partial().map_or_else(String::new, |partial| format!("<p class=\"fault\">{}</p>", escape(&partial))),
            links.collect::<String>(),
            goal_table(&goals(self)),
            self.machine()
        )
    }

    fn machine(&self) -> String {
        let known = self.host.iter().filter_map(|(name, fact)| Some((name, fact.as_str()?)));
        let facts = known.map(|(name, fact)| format!("<dt>{}</dt><dd>{}</dd>", escape(name), escape(fact)));
        format!("<section id=\"machine\"><h2>machine</h2><dl>{}</dl></section>", facts.collect::<String>())
    }
}

fn goal_table(goals: &[Goal]) -> String {
    let measured = goals.iter().filter(|goal| goal.met != Met::Unknown).count();
    let met = goals.iter().filter(|goal| goal.met == Met::Yes).count();
    let near = goals.iter().filter(|goal| goal.met == Met::Near).count();
    let rows: String = goals.iter().map(goal_row).collect();
    format!(
        "<section id=\"goals\"><h2>goals</h2><p class=\"tally\"><b>{met}</b> of {measured} met, <b>{near}</b> within the \
         noise</p><p class=\"key\"><i class=\"k ours\"></i> Pollux <i class=\"k peer\"></i> others \
         <i class=\"k aim\"></i> the aim, its good side shaded; from zero, to scale</p><table class=\"goals\"><thead><tr><th>work</th>\
         <th class=\"num\">Pollux</th><th></th><th>others (ours ÷ theirs)</th><th>met?</th></tr></thead>\
         <tbody>{rows}</tbody></table></section>"
    )
}

fn goal_row(goal: &Goal) -> String {
    let class = match goal.met {
        Met::Unknown => "unknown",
        Met::Yes => "yes",
        Met::Near => "near",
        Met::No => "no",
    };
    format!(
        "<tr class=\"{class}\"><td>{}<small>{}</small></td><td class=\"num big\">{}</td><td class=\"strip\">{}</td>\
         <td class=\"others\">{}</td><td><span class=\"chip\">{}</span></td></tr>",
        words(goal.what),
        words(goal.aim),
        escape(&goal.ours()),
        strip::strip(goal),
        words(&goal.others()),
        goal.met
    )
}

fn chapter(section: &Section) -> String {
    let name = escape(&section.name);
    let drawing = match &section.shape {
        Shape::Bars => bars::bars(section),
        Shape::Curve { x, log } => lines::curve(section, x, *log),
    };
    let faults: String =
        section.faults.iter().map(|fault| format!("<p class=\"fault\">{}</p>", escape(fault))).collect();
    let remarks: String = section.remarks.iter().map(|remark| format!("<li>{}</li>", escape(remark))).collect();
    let remarks = if remarks.is_empty() { remarks } else { format!("<ul class=\"remarks\">{remarks}</ul>") };
    let latencies = lines::distributions(section);
    let latencies = match latencies.is_empty() {
        true => latencies,
        false => {
            format!("<h3>how long they took: share of the frames (up) that took no longer (across)</h3>{latencies}")
        }
    };
    format!(
        "<section id=\"{}\"><h2>{name}</h2><p>{}</p>{faults}{drawing}{latencies}<details><summary>numbers</summary>\
         {}{remarks}</details></section>",
        anchor(&section.name),
        words(&section.title),
        numbers(section)
    )
}

/// A section's name as the end of a link.
fn anchor(name: &str) -> String {
    name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

/// A sentence, in which what stands between backquotes is code.
fn words(text: &str) -> String {
    let part =
        |(n, part): (usize, &str)| if n % 2 == 1 { format!("<code>{}</code>", escape(part)) } else { escape(part) };
    text.split('`').enumerate().map(part).collect()
}

fn numbers(section: &Section) -> String {
    let references = section.references.iter().map(|name| format!("<th class=\"num\">÷ {}</th>", escape(name)));
    let timed = section.series.iter().any(|series| series.latency.is_some());
    let percentiles = PERCENTILES.iter().filter(|_| timed).map(|(name, _)| format!("<th class=\"num\">{name} µs</th>"));
    let columns: String = references.chain(percentiles).collect();
    let rows: String = section.series.iter().map(|series| row(section, series, timed)).collect();
    format!(
        "<div class=\"scroll\"><table><thead><tr><th>work</th><th>subject</th><th class=\"num\">{}, median</th>\
         <th class=\"num\">quartiles</th><th class=\"num\">range</th><th class=\"num\">n</th>{columns}<th>and</th></tr>\
         </thead><tbody>{rows}</tbody></table></div>",
        escape(&section.unit)
    )
}

fn row(section: &Section, series: &Series, timed: bool) -> String {
    let of = spread(&series.values);
    let range = |low, high| format!("{}–{}", figure(low), figure(high));
    let cells = [figure(of.median), range(of.low, of.high), range(of.min, of.max), of.n.to_string()];
    let ratios = section.ratios(series).map(|(_, ratio)| figure(ratio));
    let percentiles = PERCENTILES.iter().filter(|_| timed).map(|(_, share)| {
        let at = series.latency.as_ref().map(|latency| latency.value_at_quantile(*share) as f64 / 1e3);
        figure(at.unwrap_or(f64::NAN))
    });
    let cells = cells.into_iter().chain(ratios).chain(percentiles);
    let cells: String = cells.map(|cell| format!("<td class=\"num\">{cell}</td>")).collect();
    let facts = series.facts.iter().map(|(name, values)| format!("{} {}", escape(name), figure(median(values))));
    let class = if series.is_ours() { "ours" } else { "peer" };
    format!(
        "<tr class=\"{class}\"><td>{}</td><td>{}</td>{cells}<td class=\"facts\">{}</td></tr>",
        escape(&series.work),
        escape(&series.subject),
        facts.collect::<Vec<_>>().join(", ")
    )
}

#[cfg(test)]
mod tests {
    use crate::report::{Results, Section, Series, Shape, latencies};
    use serde_json::Map;

    fn page(shape: Shape) -> String {
        let series = |subject: &str, work: &str, x: f64| Series {
            subject: subject.into(),
            work: work.into(),
            x: Some(x),
            values: vec![x, f64::NAN, 2.0 * x],
            latency: Some(latencies([5_000, 6_000, 700_000])),
            ..Series::default()
        };
        let rows = ["pollux <b>", "bridge"].map(|subject| [series(subject, "1", 1.0), series(subject, "1000", 1000.0)]);
        let section = Section { name: "fdb".into(), shape, series: rows.concat(), ..Section::default() };
        Results::new(Map::new(), vec![section]).page()
    }

    #[test]
    fn a_page_needs_nothing_but_itself() {
        let page = page(Shape::Curve { x: "stations".into(), log: true });
        for word in ["<script", "http:", "https:", "src=", "@import", "NaN", "inf"] {
            assert!(!page.contains(word), "{word}");
        }
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert!(page.contains("pollux &lt;b&gt;") && !page.contains("pollux <b>"));
    }

    #[test]
    fn bars_are_drawn_for_each_subject_and_work() {
        let page = page(Shape::Bars);
        assert_eq!(page.matches("class=\"bar ours\"").count(), 2);
        assert_eq!(page.matches("class=\"bar peer\"").count(), 2);
    }
}
