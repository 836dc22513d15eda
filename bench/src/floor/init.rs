//! The only program of the floor's guest: as process 1 it powers the machine off.

use std::process::ExitCode;

use rustix::system::{RebootCommand, reboot};

fn main() -> ExitCode {
    if rustix::process::getpid() != rustix::process::Pid::INIT {
        eprintln!(
            "this is the first process of a guest that `boot` measures; it does nothing elsewhere"
        );
        return ExitCode::FAILURE;
    }
    match reboot(RebootCommand::PowerOff) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot power off: {error}");
            ExitCode::FAILURE
        }
    }
}
