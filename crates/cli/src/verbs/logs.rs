//! `cenote logs`: what a container wrote, or the console of its machine.

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use cenote_sandbox::log::Stream;
use cenote_sandbox::{LogOptions, Sandbox};
use clap::Args;

use super::sandbox;

/// Show what a container has written
#[derive(Debug, Args)]
pub struct Logs {
    /// Go on until the container ends
    #[arg(short, long)]
    follow: bool,
    /// Only the last lines
    #[arg(short = 'n', long, value_name = "LINES")]
    tail: Option<usize>,
    /// Begin each line with its time
    #[arg(short, long)]
    timestamps: bool,
    /// Show the console of the virtual machine instead: the kernel's messages and the agent's
    #[arg(long, conflicts_with_all = ["follow", "tail", "timestamps"])]
    boot: bool,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Logs {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let sandbox = sandbox::find(&self.container)?;
        match self.boot {
            true => boot(&sandbox)?,
            false => self.output(&sandbox)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn output(&self, sandbox: &Sandbox) -> anyhow::Result<()> {
        let options = LogOptions {
            tail: self.tail,
            follow: self.follow,
        };
        let mut begins_line = true;
        sandbox.logs(options, &mut |record| {
            if self.timestamps && begins_line {
                show(record.stream, format!("{} ", record.time).as_bytes())?;
            }
            begins_line = record.bytes.ends_with(b"\n");
            show(record.stream, &record.bytes)
        })?;
        Ok(())
    }
}

/// Writes to the stream that the container wrote to.
fn show(stream: Stream, bytes: &[u8]) -> io::Result<()> {
    match stream {
        Stream::Stdout => {
            let mut out = io::stdout().lock();
            out.write_all(bytes)?;
            out.flush()
        }
        Stream::Stderr => io::stderr().write_all(bytes),
    }
}

fn boot(sandbox: &Sandbox) -> anyhow::Result<()> {
    let path = sandbox.console_log();
    let mut file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file.with_context(|| format!("cannot read {}", path.display()))?,
    };
    io::copy(&mut file, &mut io::stdout().lock())?;
    Ok(())
}
