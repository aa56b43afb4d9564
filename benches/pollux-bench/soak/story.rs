//! The course of a soak over time, as sections of the results.

use super::vitals::{EVERY, Vitals};
use crate::report::{Better, Section, Series, Shape};
use crate::rig::Ledger;
use std::time::Duration;

const SUBJECT: &str = "pollux lab";

/// A look: when, and what was there.
type Look = (Duration, Vitals);

/// All looks, and what was found.
#[derive(Debug)]
pub struct Story {
    start: Look,
    /// Under traffic.
    looks: Vec<Look>,
    end: Option<Look>,
    /// Faults.
    pub faults: Vec<String>,
    /// Remarks.
    pub remarks: Vec<String>,
}

impl Story {
    /// Begins with a quiet switch.
    pub fn begin(quiet: Vitals) -> Self {
        let (looks, faults, remarks) = Default::default();
        Self { start: (Duration::ZERO, quiet), looks, end: None, faults, remarks }
    }

    /// Adds a look under traffic.
    pub fn add(&mut self, at: Duration, vitals: Vitals) {
        self.looks.push((at, vitals));
    }

    /// Ends with a quiet switch; where every frame went.
    pub fn end(&mut self, at: Duration, quiet: Vitals, ledger: &Ledger) {
        self.end = Some((at, quiet));
        self.faults.extend(quiet.not_as_at_the_start(&self.start.1));
        self.balance(ledger);
    }

    fn balance(&mut self, ledger: &Ledger) {
        let Ledger { received, lost, copies, sent, drops, .. } = ledger;
        let dropped = ledger.dropped();
        let came = format!("{received} received + {lost} lost + {copies} copies");
        self.remarks.push(format!("frames: {came} = {sent} sent + {dropped} dropped {drops:?}"));
        self.faults.extend(ledger.imbalance());
    }

    /// As sections: the rate with everything that was found, then a curve for each thing that must not grow.
    pub fn sections(&self) -> Vec<Section> {
        let free = self.curve("soak free frames", "frames", Better::More, |vitals| vitals.free as f64);
        let memory = self.curve("soak memory", "KiB resident", Better::Less, |vitals| vitals.rss_kib as f64);
        let files = self.curve("soak files", "open files", Better::Less, |vitals| vitals.files as f64);
        vec![self.rate(), free, memory, files]
    }

    /// Frames switched per second, a value for each time between two looks.
    fn rate(&self) -> Section {
        let before = [&self.start].into_iter().chain(&self.looks);
        let rate = |((then, before), (now, after)): (&Look, &Look)| {
            (after.frames - before.frames) as f64 / (*now - *then).as_secs_f64() / 1e6
        };
        let values = before.zip(&self.looks).map(rate).collect();
        let (subject, work) = (SUBJECT.to_owned(), "mixed traffic".to_owned());
        Section {
            name: "soak".into(),
            title: "A lab of two TAP and two veth nodes under mixed traffic, while a port comes or goes every second; \
                    frames switched per second between two looks. Nothing may be lost, nothing may grow."
                .into(),
            unit: "Mpps".into(),
            series: vec![Series { subject, work, values, ..Series::default() }],
            faults: self.faults.clone(),
            remarks: self.remarks.clone(),
            ..Section::default()
        }
    }

    /// One thing over time.
    fn curve(&self, name: &'static str, unit: &'static str, better: Better, of: fn(&Vitals) -> f64) -> Section {
        let point = |(n, (at, vitals)): (u32, &Look)| Series {
            subject: SUBJECT.to_owned(),
            // looks come when no port is there that comes and goes: by their number they can be found in another run
            work: format!("{} s", (EVERY * n).as_secs()),
            x: Some(at.as_secs_f64()),
            values: vec![of(vitals)],
            ..Series::default()
        };
        let looks = [&self.start].into_iter().chain(&self.looks).chain(&self.end);
        Section {
            name: name.into(),
            title:
                "Over the time of the soak, each time when none of the ports that come and go is there; the first and \
                    the last without traffic."
                    .into(),
            unit: unit.into(),
            better,
            shape: Shape::Curve { x: "seconds".into(), log: false },
            series: (0..).zip(looks).map(point).collect(),
            ..Section::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_become_a_rate_and_curves() {
        let vitals = |frames: u64| Vitals { free: 7, files: 9, frames, ..Vitals::default() };
        let mut story = Story::begin(vitals(0));
        story.add(Duration::from_secs(32), vitals(64_000_000));
        story.end(Duration::from_secs(40), vitals(65_000_000), &Ledger::default());
        let sections = story.sections();
        assert_eq!(sections[0].series[0].values, [2.0], "settling is not switching");
        let points: Vec<_> = sections[1].series.iter().map(|series| (&series.work[..], series.x)).collect();
        assert_eq!(points, [("0 s", Some(0.0)), ("30 s", Some(32.0)), ("60 s", Some(40.0))]);
        assert_eq!((&sections[3].series[2].values[..], &sections[0].faults[..]), (&[9.0][..], &[][..]));
    }
}
