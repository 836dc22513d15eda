//! Programs on the host's PATH, and what version a program says it is.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::{Error, Kind, Tool, display};
use crate::version::compare;

/// The host's own program, if it is new enough.
pub(super) fn find(kind: Kind) -> Result<Tool, Error> {
    let program = on_path(kind.program()).ok_or(Error::Missing { kind, found: None })?;
    let mut tool = Tool {
        kind,
        version: String::new(),
        program,
        private: None,
    };
    tool.version = version(&tool)?;
    match kind.minimum() {
        Some(minimum) if compare(&tool.version, minimum).is_lt() => Err(Error::Missing {
            kind,
            found: Some(tool.version),
        }),
        _ => Ok(tool),
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    let executable = |path: &PathBuf| {
        path.metadata()
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    };
    env::split_paths(&env::var_os("PATH")?)
        .filter(|folder| folder.is_absolute())
        .map(|folder| folder.join(name))
        .find(executable)
}

/// What the tool calls its own version.
fn version(tool: &Tool) -> Result<String, Error> {
    let said = start(tool)?;
    parse(&said).ok_or_else(|| Error::DoesNotRun {
        program: display(&tool.program),
        said: format!(
            "`--version` printed {:?}",
            said.lines().next().unwrap_or_default()
        ),
    })
}

/// Starts the tool with `--version`, which proves that it runs, and returns what it printed.
pub(super) fn start(tool: &Tool) -> Result<String, Error> {
    let failed = |said: String| Error::DoesNotRun {
        program: display(&tool.program),
        said,
    };
    let output = tool
        .command()
        .arg("--version")
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(format!(
            "{}, {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        )));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// QEMU prints `QEMU emulator version 10.0.2 (Debian ...)`, passt `passt VERSION`, where VERSION may be
/// `unknown version`.
pub(super) fn parse(said: &str) -> Option<String> {
    let line = said.lines().next()?;
    let rest = line
        .strip_prefix("QEMU emulator version ")
        .or_else(|| line.strip_prefix("passt "))?;
    let first = rest.split_whitespace().next()?;
    Some(first.to_owned())
}
