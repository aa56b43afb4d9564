//! Medians of paired rounds.

use std::fmt;
use std::time::Instant;

/// Nanoseconds that `work` took.
pub fn nanos(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_nanos() as f64
}

struct Row {
    name: &'static str,
    /// One per round, of one value per column.
    rounds: Vec<Vec<f64>>,
}

/// One table; prints itself as Markdown.
pub struct Table {
    title: String,
    columns: &'static [&'static str],
    rows: Vec<Row>,
}

impl Table {
    pub fn new(title: String, columns: &'static [&'static str]) -> Self {
        Self { title, columns, rows: Vec::new() }
    }

    /// One round's values of the row `name`.
    pub fn add(&mut self, name: &'static str, values: &[f64]) {
        let row = match self.rows.iter().position(|row| row.name == name) {
            Some(i) => &mut self.rows[i],
            None => {
                self.rows.push(Row { name, rounds: Vec::new() });
                self.rows.last_mut().unwrap()
            }
        };
        row.rounds.push(values.to_vec());
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n| {} |", self.title)?;
        self.columns.iter().try_for_each(|column| write!(f, " {column} | ÷ first |"))?;
        writeln!(f, "\n|---|{}", "---|---|".repeat(self.columns.len()))?;
        let Some(first) = self.rows.first() else { return Ok(()) };
        for row in &self.rows {
            write!(f, "| {} |", row.name)?;
            for column in 0..self.columns.len() {
                let values = row.rounds.iter().map(|round| round[column]);
                let pairs = row.rounds.iter().zip(&first.rounds).map(|(own, first)| own[column] / first[column]);
                write!(f, " {:.*} | {:.2} |", digits(row, column), median(values), median(pairs))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn digits(row: &Row, column: usize) -> usize {
    usize::from(median(row.rounds.iter().map(|round| round[column])) < 100.0)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}
