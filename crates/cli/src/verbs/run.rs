//! `cenote run`: a container from an image, from start to exit code.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use cenote_sandbox::{Host, Paths, Timing};
use clap::Args;

use super::container::ContainerFlags;
use super::create::create;
use super::launch;
use crate::exit;
use crate::flags::env;
use crate::output::progress::announce;
use crate::plan::Plan;

/// Run a command in a new container, in a virtual machine of its own
#[derive(Debug, Args)]
#[command(override_usage = "cenote run [OPTIONS] IMAGE [COMMAND [ARG]...]")]
pub struct Run {
    /// Leave the container running and print its id
    #[arg(short, long)]
    detach: bool,
    /// Tell where the time went, on standard error
    #[arg(long, conflicts_with = "detach")]
    timing: bool,
    #[command(flatten)]
    container: ContainerFlags,
}

impl Run {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let begun = Instant::now();
        let flags = &self.container;
        let plan = Plan::new(flags, &env::of_host())?;
        let paths = Paths::from_env()?;
        let host = Host::new(&paths);
        let sandbox = create(&paths, &host, flags, &plan)?;
        let resolved = begun.elapsed();
        if !flags.quiet && host.backend(sandbox.spec())?.is_emulated() {
            announce(
                "the machine is emulated, which is slow; `cenote doctor` tells what would make it faster",
            );
        }
        if self.detach {
            launch::detached(&sandbox)?;
            writeln!(io::stdout(), "{}", sandbox.id())?;
            return Ok(ExitCode::SUCCESS);
        }
        let outcome = launch::foreground(&sandbox, &host, flags.process.interactive)?;
        if self.timing {
            tell(resolved, &outcome.timing, begun.elapsed());
        }
        Ok(exit::of_container(outcome.code))
    }
}

/// One line a phase, in milliseconds.
fn tell(resolved: Duration, timing: &Timing, whole: Duration) {
    let phases = [("resolve", resolved)]
        .into_iter()
        .chain(timing.phases())
        .chain([("whole", whole)]);
    for (name, length) in phases {
        announce(&format!(
            "{name:>9} {:>9.1} ms",
            length.as_secs_f64() * 1000.0
        ));
    }
}
