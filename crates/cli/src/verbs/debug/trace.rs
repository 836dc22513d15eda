//! `cenote debug trace`: where the time of requests on shares goes.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use cenote_sandbox::observe::{Told, TracedRequest};
use clap::Args;

use crate::verbs::sandbox;

/// Print requests on a container's shares as they end, with the parts of their time
///
/// A line has the time since the first one in seconds, the share, the operation, the node that it is on, and microseconds: `total` from
/// the sending by the guest's kernel to the reply, and its parts: `queue` (in the guest, where a share is mounted over vsock),
/// `transport` (to the server), `server`, `file-system` (system calls on what is shared) and `reply` (the way back). Host and
/// guest have clocks of their own, so `transport` and `reply` may be wrong by `clock+-`, one at the other's expense. What one side did not
/// tell is left out, and the line says so.
#[derive(Debug, Args)]
pub struct Trace {
    /// Print one in so many requests; tracing few costs little
    #[arg(long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: u32,
    /// Only the share that the container has there
    #[arg(long, value_name = "PATH")]
    share: Option<String>,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Trace {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let sandbox = sandbox::find(&self.container)?;
        let mut printer = Printer::default();
        sandbox.trace(self.rate, self.share.as_deref(), &mut |told| {
            let text = match told {
                Told::Begun { targets, clock } => {
                    printer.targets = targets.to_vec();
                    head(&self.container, self.rate, clock)
                }
                Told::Request(request) => printer.line(&request),
                Told::Lost(count) => format!("# {count} more came too fast to be told of"),
            };
            let mut out = io::stdout().lock();
            writeln!(out, "{text}")?;
            out.flush()
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn head(container: &str, rate: u32, clock: Result<Duration, String>) -> String {
    let begin = format!("# {container}: one in {rate} requests; times in µs");
    match clock {
        Ok(bound) => format!("{begin}; the guest's clock is known to +-{}", micros(bound)),
        Err(why) => format!("{begin}; only what the host knows: {why}"),
    }
}

#[derive(Debug, Default)]
struct Printer {
    targets: Vec<String>,
    /// When the first request was.
    begin: Option<u64>,
}

impl Printer {
    fn line(&mut self, request: &TracedRequest) -> String {
        let begin = *self.begin.get_or_insert(request.at_ns);
        // One that ended late can have begun before the first one.
        let since = (i128::from(request.at_ns) - i128::from(begin)) as f64 / 1e9;
        let target = self.targets.get(request.share);
        let mut line = format!(
            "{since:.6} {} {}",
            target.map_or("-", String::as_str),
            request.operation
        );
        let (host, guest, ways) = (request.host, request.guest, request.ways);
        let mut part = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                // Writing to a string does not fail.
                let _ = write!(line, " {name}{value}");
            }
        };
        part("node=", host.map(|host| host.node.to_string()));
        part("total=", guest.map(|guest| micros(guest.total)));
        part("queue=", guest.and_then(|guest| guest.queue).map(micros));
        part("transport=", ways.map(|ways| micros(ways.transport)));
        part("server=", host.map(|host| micros(host.server)));
        part("file-system=", host.map(|host| micros(host.file_system)));
        part("reply=", ways.map(|ways| micros(ways.reply)));
        part("clock+-", ways.map(|ways| micros(ways.bound)));
        part(
            "bytes=",
            host.filter(|host| host.bytes > 0)
                .map(|host| host.bytes.to_string()),
        );
        part(
            "errno=",
            host.and_then(|host| host.error)
                .map(|error| error.to_string()),
        );
        part(
            "(the guest's half was not told)",
            guest.is_none().then(String::new),
        );
        part(
            "(the host's half was not told)",
            host.is_none().then(String::new),
        );
        line
    }
}

fn micros(time: Duration) -> String {
    format!("{:.1}", time.as_nanos() as f64 / 1000.0)
}

#[cfg(test)]
#[path = "trace_test.rs"]
mod tests;
