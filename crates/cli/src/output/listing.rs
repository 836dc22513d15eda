//! Listings: a table for people, JSON for programs, from the same rows.

use std::io::{self, Write};

use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;

/// How a listing is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people
    #[default]
    Table,
    /// One JSON document
    Json,
}

/// A row of a listing. Its serialization is what `--format json` prints.
pub trait Row: Serialize {
    /// The columns' titles.
    const TITLES: &'static [&'static str];
    /// The cells, as many as titles.
    fn cells(&self) -> Vec<String>;
}

/// Prints `rows` to standard output.
pub fn print<R: Row>(format: Format, rows: &[R]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match format {
        Format::Table => writeln!(out, "{}", table(rows)),
        Format::Json => json(&mut out, rows),
    }
}

/// Prints one value as indented JSON.
pub fn json<T: Serialize + ?Sized>(out: &mut impl Write, value: &T) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// Columns two blanks apart and no trailing blanks, so that `awk` and people can read it alike.
fn table<R: Row>(rows: &[R]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(R::TITLES.to_vec());
    for row in rows {
        table.add_row(row.cells());
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.lines().map(|line| line.trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
#[path = "listing_test.rs"]
mod tests;
