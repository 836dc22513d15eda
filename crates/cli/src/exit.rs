//! Exit codes, podman's: the container's own, or what kept it from having one.

use std::process::ExitCode;

use cenote_sandbox::{detach, monitor, sandbox, session};

/// Cenote failed, or the command line was wrong. 126 and 127 are the guest's words on a command that it cannot
/// execute or find, 128 and more a signal's.
pub const FAILED: u8 = 125;

/// The container's exit code as this process's own.
pub fn of_container(code: u8) -> ExitCode {
    ExitCode::from(code)
}

/// The code for a failure that reached the edge.
pub fn of_error(error: &anyhow::Error) -> ExitCode {
    let code = match (
        error.downcast_ref(),
        error.downcast_ref(),
        error.downcast_ref(),
    ) {
        (Some(monitor), _, _) => monitor::Error::exit_code(monitor),
        (_, Some(detach::Error::Failed { code, .. }), _) => *code,
        (_, _, Some(sandbox::Error::Process(session::Error::Refused(refused)))) => {
            refused.reason.exit_code()
        }
        _ => FAILED,
    };
    ExitCode::from(code)
}
