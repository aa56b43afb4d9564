//! Where we differ from the kernel on purpose: the tables of `docs/differences.md`.

use crate::script::{Outcome, Scenario, Sent};

const TEXT: &str = include_str!("../../docs/differences.md");

/// One row: which frame of which scenario, and what comes out of the kernel and of us.
#[derive(Debug, Clone)]
pub struct Difference {
    pub scenario: String,
    pub frame: String,
    pub kernel: String,
    pub pollux: String,
    pub why: String,
}

/// All rows.
pub fn all() -> Vec<Difference> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    let rows = TEXT.lines().filter(|line| line.starts_with("| `")).map(cells);
    let row = |cells: Vec<String>| {
        let [scenario, frame, kernel, pollux, why] =
            cells.try_into().unwrap_or_else(|cells| panic!("five columns, not {cells:?}"));
        Difference { scenario, frame, kernel, pollux, why }
    };
    rows.map(row).collect()
}

/// What we do with the frame, on purpose.
pub fn wanted(scenario: &Scenario, sent: &Sent) -> Outcome {
    let rows = all();
    let row = rows.iter().find(|row| row.scenario == scenario.name && row.frame == sent.text);
    row.map_or_else(|| sent.expected.clone(), |row| Outcome::parse(&row.pollux, &sent.tags))
}

/// Rows that are about no frame, or about none that we treat differently, or that give no reason.
pub fn idle(scenarios: &[Scenario]) -> Vec<String> {
    let real = |row: &Difference| {
        let of = scenarios.iter().filter(|scenario| scenario.name == row.scenario);
        let mut frames = of.flat_map(Scenario::frames).filter(|sent| sent.text == row.frame);
        let differs = |sent: &Sent| {
            let [kernel, pollux] = [&row.kernel, &row.pollux].map(|text| Outcome::parse(text, &sent.tags));
            kernel == sent.expected && kernel != pollux && !row.why.is_empty()
        };
        frames.any(differs)
    };
    all().iter().filter(|row| !real(row)).map(|row| format!("{row:?}")).collect()
}
