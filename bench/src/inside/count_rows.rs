//! Runs in the lab: starts a virtual machine's program whose guest says when each of several measurements begins and ends,
//! counts the exits between, and prints everything as JSON.
//!
//!   count_rows COMMAND [ARGUMENT]...
//!
//! The guest's lines are `row begin NAME`, `row end NAME`, and at last `row result NAME KIBIBYTES MILLISECONDS`, after whatever
//! comes before them.

mod exits;

use std::collections::BTreeMap;
use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use exits::Counters;

/// No guest says more.
const TALK_LIMIT: u64 = 1 << 20;

fn main() -> anyhow::Result<()> {
    let mut arguments = env::args().skip(1);
    let program = arguments.next().context("the COMMAND is missing")?;
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let output = child.stdout.take().context("the output is a pipe")?;
    let mut counters = None;
    let mut counted: BTreeMap<String, [u64; 2]> = BTreeMap::new();
    let mut rows: BTreeMap<String, Value> = BTreeMap::new();
    let mut said = Vec::new();
    for line in BufReader::new(output.take(TALK_LIMIT)).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        match words(&line).as_slice() {
            ["begin", _] => counters = Some(Counters::start()?),
            ["end", name] => {
                let counters = counters.take().context("a row ends that never began")?;
                let counts = counters.read()?.map(|exits| exits.values().sum());
                counted.insert((*name).to_owned(), counts);
            }
            ["result", name, kibibytes, milliseconds] => {
                let [exits, user] = counted
                    .get(*name)
                    .with_context(|| format!("the row {name} has a result and no end"))?;
                let row = json!({
                    "kibibytes": kibibytes.parse::<u64>()?,
                    "milliseconds": milliseconds.parse::<u64>()?,
                    "exits": exits,
                    "user": user,
                });
                rows.insert((*name).to_owned(), row);
            }
            _ => said.push(line),
        }
    }
    let status = child.wait()?;
    ensure!(
        status.success() && !rows.is_empty(),
        "the machine ended ({status}) after {} rows and said {said:#?}",
        rows.len()
    );
    println!("{}", json!(rows));
    Ok(())
}

/// What comes after `row` in a line.
fn words(line: &str) -> Vec<&str> {
    line.split_once("row ")
        .map(|(_, rest)| rest.split_whitespace().collect())
        .unwrap_or_default()
}
