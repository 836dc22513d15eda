//! The programs and headers by which a kernel is built, looked for before anything is fetched.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::Error;

/// A program, and the Debian package that holds it.
const PROGRAMS: [(&str, &str); 9] = [
    ("make", "make"),
    ("gcc", "gcc"),
    ("ld", "binutils"),
    ("strip", "binutils"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
];
/// Only for patches.
const PATCH: (&str, &str) = ("patch", "patch");
/// A header, and the Debian package that holds it: objtool, a program of the kernel's build, reads ELF files.
const HEADERS: [(&str, &str); 2] = [("stdio.h", "libc6-dev"), ("gelf.h", "libelf-dev")];

/// What is missing: the thing, and its Debian package.
pub type Missing = (&'static str, &'static str);

/// A complete set of build tools.
#[derive(Debug, Clone)]
pub(super) struct Toolchain {
    path: OsString,
    /// What the compiler and the linker call themselves, a line each.
    pub(super) compiler: String,
}

impl Toolchain {
    /// Finds the programs in `path`, a list of folders as in `PATH`.
    ///
    /// # Errors
    /// [`Error::Tools`] with everything that is missing.
    pub(super) fn find(path: &OsStr, patches: bool) -> Result<Self, Error> {
        let mut toolchain = Self {
            path: path.to_owned(),
            compiler: String::new(),
        };
        let extra = patches.then_some(PATCH);
        let mut missing: Vec<Missing> = PROGRAMS
            .into_iter()
            .chain(extra)
            .filter(|(program, _)| toolchain.program(program).is_none())
            .collect();
        // Without a compiler, nobody can say which headers there are.
        if toolchain.program("gcc").is_some() {
            missing.extend(HEADERS.iter().filter(|(header, _)| !toolchain.has(header)));
        }
        if !missing.is_empty() {
            return Err(Error::Tools(missing));
        }
        let said = ["gcc", "ld"].map(|program| toolchain.version(program));
        toolchain.compiler = said.into_iter().collect::<Result<Vec<_>, _>>()?.join("\n");
        Ok(toolchain)
    }

    /// A call of `program`, with nothing in its environment but where programs are and where temporary files go.
    pub(super) fn command(&self, program: &str) -> Command {
        let file = self.program(program);
        let mut command = Command::new(file.unwrap_or_else(|| program.into()));
        command
            .env_clear()
            .env("PATH", &self.path)
            .env("LC_ALL", "C")
            .env("TMPDIR", std::env::temp_dir());
        command
    }

    fn program(&self, name: &str) -> Option<PathBuf> {
        std::env::split_paths(&self.path)
            .map(|folder| folder.join(name))
            .find(|file| rustix::fs::access(file, rustix::fs::Access::EXEC_OK).is_ok())
    }

    /// Whether the compiler finds `header`.
    fn has(&self, header: &str) -> bool {
        let mut gcc = self.command("gcc");
        gcc.args(["-E", "-include", header, "-x", "c", "/dev/null"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        gcc.status().is_ok_and(|status| status.success())
    }

    /// The first line of what `program` says about itself.
    fn version(&self, program: &'static str) -> Result<String, Error> {
        let output = self.command(program).arg("--version").output();
        let output = output.map_err(|source| Error::Run { program, source })?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }
}

#[cfg(test)]
#[path = "toolchain_test.rs"]
mod tests;
