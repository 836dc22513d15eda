//! The report of a measuring program: a table for people and the same figures as JSON.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::machine;
use crate::series::Series;

/// The flags that every program has.
#[derive(Debug, Args)]
pub struct Flags {
    /// Where the JSON goes
    #[arg(long, default_value = "target/bench", value_name = "FOLDER")]
    pub results: PathBuf,
}

/// What one program found out.
#[derive(Debug, Serialize)]
pub struct Report {
    question: &'static str,
    program: &'static str,
    conditions: BTreeMap<String, String>,
    figures: Vec<Figure>,
    aims: Vec<Aim>,
}

#[derive(Debug, Serialize)]
struct Figure {
    name: String,
    unit: &'static str,
    median: f64,
    min: f64,
    max: f64,
    values: Series,
}

#[derive(Debug, Serialize)]
struct Aim {
    name: String,
    aim: String,
    measured: f64,
    met: bool,
}

/// On which side of the limit a figure should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// At most the limit.
    AtMost,
    /// At least the limit.
    AtLeast,
}

impl Report {
    /// An empty report of `program` on `question`. The machine's load is read now, before the program adds to it.
    pub fn new(program: &'static str, question: &'static str) -> Self {
        Self {
            question,
            program,
            conditions: machine::conditions(),
            figures: Vec::new(),
            aims: Vec::new(),
        }
    }

    /// Adds a condition under which the figures were taken.
    pub fn condition(&mut self, name: &str, value: impl ToString) {
        self.conditions.insert(name.to_owned(), value.to_string());
    }

    /// Adds figures of one kind, and answers their median.
    pub fn figure(&mut self, name: &str, unit: &'static str, values: &Series) -> f64 {
        let (median, min, max) = (values.median(), values.min(), values.max());
        self.figures.push(Figure {
            name: name.to_owned(),
            unit,
            median,
            min,
            max,
            values: values.clone(),
        });
        median
    }

    /// Adds a promise and what was measured of it.
    pub fn aim(&mut self, name: &str, side: Side, limit: f64, measured: f64) {
        let (words, met) = match side {
            Side::AtMost => ("at most", measured <= limit),
            Side::AtLeast => ("at least", measured >= limit),
        };
        self.aims.push(Aim {
            name: name.to_owned(),
            aim: format!("{words} {limit}"),
            measured,
            met,
        });
    }

    /// Prints the tables and writes the JSON file `<results>/<program>.json`.
    ///
    /// # Errors
    /// When either cannot be written.
    pub fn publish(&self, flags: &Flags) -> anyhow::Result<()> {
        let mut out = io::stdout().lock();
        writeln!(out, "{}: {}", self.program, self.question)?;
        for (name, value) in &self.conditions {
            writeln!(out, "  {name}: {value}")?;
        }
        writeln!(out, "{}", self.figure_table())?;
        for aim in &self.aims {
            let verdict = if aim.met { "met" } else { "NOT met" };
            writeln!(
                out,
                "  {}: {}, measured {:.2}: {verdict}",
                aim.name, aim.aim, aim.measured
            )?;
        }
        let path = flags.results.join(format!("{}.json", self.program));
        fs::create_dir_all(&flags.results)
            .with_context(|| format!("cannot make {}", flags.results.display()))?;
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
    }

    fn figure_table(&self) -> Table {
        let mut table = Table::new();
        table
            .load_style(presets::NOTHING)
            .set_header(["", "median", "min", "max", "unit", "n"]);
        for figure in &self.figures {
            let [median, min, max] = [figure.median, figure.min, figure.max].map(number);
            let count = figure.values.count().to_string();
            table.add_row([&figure.name, &median, &min, &max, figure.unit, &count]);
        }
        for column in [1, 2, 3, 5] {
            let column = table.column_mut(column).expect("the table has six columns");
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

/// Three significant digits or all before the point, whichever is more.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
#[path = "report_test.rs"]
mod tests;
