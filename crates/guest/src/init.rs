//! PID 1 proper: starts the agent, reaps orphans, powers off.

use std::convert::Infallible;
use std::process;

use rustix::io::Errno;
use rustix::process::{WaitOptions, getpid, wait};
use rustix::system::{RebootCommand, reboot};

use crate::{agent, log, machine, sys};

/// Runs the machine. Never returns; the machine powers off at its end.
pub fn run() -> ! {
    if !getpid().is_init() {
        log::line(
            "this is the agent of a Cenote guest; it runs as the first process of a virtual machine",
        );
        process::exit(1);
    }
    // Whatever breaks in the agent is printed and ends it; that ends the machine below.
    std::panic::set_hook(Box::new(|info| {
        log::line(format_args!("internal error: {info}"));
        process::abort();
    }));
    if let Err(error) = machine::mount_kernel_file_systems() {
        log::line(error);
        power_off();
    }
    // SAFETY: no thread exists yet, so the child may go on like any process.
    match unsafe { sys::fork(sys::Fork::default()) } {
        Ok(sys::Forked::Child) => agent::run(),
        Ok(sys::Forked::Parent(agent)) => {
            let Err(errno) = reap_until(agent.pid);
            if errno != Errno::CHILD {
                log::line(format_args!("cannot wait for processes: {errno}"));
            }
        }
        Err(errno) => log::line(format_args!("cannot start the agent: {errno}")),
    }
    power_off()
}

/// Reaps every process that ends, until the agent does.
fn reap_until(agent: rustix::process::Pid) -> Result<Infallible, Errno> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == agent => {
                if status.exit_status() != Some(0) {
                    log::line(format_args!(
                        "the agent ended with {status:?}; powering off"
                    ));
                }
                return Err(Errno::CHILD);
            }
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Writes everything to the disks and ends the machine.
pub fn power_off() -> ! {
    rustix::fs::sync();
    if let Err(errno) = reboot(RebootCommand::PowerOff) {
        log::line(format_args!("cannot power off: {errno}"));
    }
    loop {
        rustix::event::pause();
    }
}
