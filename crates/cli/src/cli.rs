//! The command line's shape: which verbs there are, and which file each is in.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::verbs;

/// Run each OCI container in its own microVM, with its own kernel.
#[derive(Debug, Parser)]
#[command(
    name = "cenote",
    version,
    arg_required_else_help = true,
    infer_long_args = false
)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(verbs::run::Run),
    Create(verbs::create::Create),
    Start(verbs::start::Start),
    Exec(verbs::exec::Exec),
    Ps(verbs::ps::Ps),
    Logs(verbs::logs::Logs),
    Stats(verbs::stats::Stats),
    Inspect(verbs::inspect::Inspect),
    Wait(verbs::wait::Wait),
    Kill(verbs::kill::Kill),
    Stop(verbs::stop::Stop),
    Pause(verbs::pause::Pause),
    Unpause(verbs::pause::Unpause),
    Rm(verbs::rm::Rm),
    #[command(subcommand)]
    Image(verbs::image::Image),
    Pull(verbs::image::pull::Pull),
    Load(verbs::image::load::Load),
    Import(verbs::image::import::Import),
    Images(verbs::image::ls::Ls),
    Rmi(verbs::image::rm::Rm),
    #[command(subcommand)]
    Volume(verbs::volume::Volume),
    #[command(subcommand)]
    Kernel(verbs::kernel::Kernel),
    #[command(subcommand)]
    Tools(verbs::tools::Tools),
    Fsd(verbs::fsd::Fsd),
    #[command(subcommand)]
    Debug(verbs::debug::Debug),
    Doctor(verbs::doctor::Doctor),
    Info(verbs::info::Info),
    Version(verbs::version::Version),
    #[command(hide = true)]
    Monitor(verbs::monitor::Monitor),
    #[command(hide = true)]
    Man(verbs::man::Man),
    #[command(hide = true)]
    Completions(verbs::completions::Completions),
}

impl Cli {
    /// Does what was typed.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Run(verb) => verb.run(),
            Command::Create(verb) => verb.run(),
            Command::Start(verb) => verb.run(),
            Command::Exec(verb) => verb.run(),
            Command::Ps(verb) => verb.run(),
            Command::Logs(verb) => verb.run(),
            Command::Stats(verb) => verb.run(),
            Command::Inspect(verb) => verb.run(),
            Command::Wait(verb) => verb.run(),
            Command::Kill(verb) => verb.run(),
            Command::Stop(verb) => verb.run(),
            Command::Pause(verb) => verb.run(),
            Command::Unpause(verb) => verb.run(),
            Command::Rm(verb) => verb.run(),
            Command::Image(verb) => verb.run(),
            Command::Pull(verb) => verb.run(),
            Command::Load(verb) => verb.run(),
            Command::Import(verb) => verb.run(),
            Command::Images(verb) => verb.run(),
            Command::Rmi(verb) => verb.run(),
            Command::Volume(verb) => verb.run(),
            Command::Kernel(verb) => verb.run(),
            Command::Tools(verb) => verb.run(),
            Command::Fsd(verb) => verb.run(),
            Command::Debug(verb) => verb.run(),
            Command::Doctor(verb) => verb.run(),
            Command::Info(verb) => verb.run(),
            Command::Version(verb) => verb.run(),
            Command::Monitor(verb) => verb.run(),
            Command::Man(verb) => verb.run(),
            Command::Completions(verb) => verb.run(),
        }
    }
}

#[cfg(test)]
#[path = "cli_test.rs"]
mod tests;
