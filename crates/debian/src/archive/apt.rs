//! Runs apt's programs with a configuration of their own, and tells their failures apart.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::Error;

/// Debian's name of the only architecture that Cenote runs on so far.
pub(super) const ARCHITECTURE: &str = "amd64";

/// Settings of the host that concern how to reach a mirror; everything else of its configuration (hooks, pins,
/// sources, trust) is left out.
const HOST_SETTINGS: [&str; 5] = [
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::ForceIPv4",
    "Acquire::ForceIPv6",
    "Acquire::Retries",
];

/// How much of apt's words an error repeats.
const MAX_SAID: usize = 1000;

/// An apt whose configuration lies in a private folder.
#[derive(Debug)]
pub(super) struct Apt {
    folder: PathBuf,
    mirror: String,
    keyring: PathBuf,
}

impl Apt {
    pub(super) fn new(
        folder: &Path,
        sources: &str,
        prefer: Option<&str>,
        mirror: String,
        keyring: PathBuf,
    ) -> Result<Self, Error> {
        let place = folder.to_string_lossy();
        if place.contains(['"', '\\']) || place.contains(char::is_control) {
            return Err(Error::Unusable {
                what: "folder",
                value: place.into_owned(),
            });
        }
        let write = |name: &str, content: &str| {
            let path = folder.join(name);
            fs::write(&path, content).map_err(|source| Error::Io { path, source })
        };
        for name in ["state/lists/partial", "cache/archives/partial", "log"] {
            let path = folder.join(name);
            fs::create_dir_all(&path).map_err(|source| Error::Io { path, source })?;
        }
        let mut configuration = host_settings()?;
        configuration += &private_settings(&place);
        if let Some(suite) = prefer {
            configuration += &format!("APT::Default-Release \"{suite}\";\n");
        }
        write("status", "")?;
        write("sources.list", sources)?;
        write("apt.conf", &configuration)?;
        Ok(Self {
            folder: folder.to_owned(),
            mirror,
            keyring,
        })
    }

    pub(super) fn archives(&self) -> PathBuf {
        self.folder.join("cache/archives")
    }

    /// Runs `program` and returns its standard output.
    pub(super) fn run<A: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = A>,
        suites: &str,
    ) -> Result<String, Error> {
        self.run_in(&self.folder, program, arguments, suites)
    }

    pub(super) fn run_in<A: AsRef<OsStr>>(
        &self,
        folder: &Path,
        program: &str,
        arguments: impl IntoIterator<Item = A>,
        suites: &str,
    ) -> Result<String, Error> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(folder)
            .env("APT_CONFIG", self.folder.join("apt.conf"));
        let output = output(&mut command)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.failure(
            &format!("{command:?}"),
            &String::from_utf8_lossy(&output.stderr),
            suites,
        ))
    }

    /// apt exits with 100 whatever went wrong: its words (in the C locale) tell what did.
    fn failure(&self, command: &str, said: &str, suites: &str) -> Error {
        let (mirror, suites) = (self.mirror.clone(), suites.to_owned());
        let cause = cause(said);
        let said = shortened(said);
        match cause {
            Some(Cause::Signature) => Error::Signature {
                mirror,
                keyring: self.keyring.clone(),
                said,
            },
            Some(Cause::Expired) => Error::Expired { mirror, said },
            Some(Cause::Mismatch) => Error::Mismatch { mirror, said },
            Some(Cause::Unreachable) => Error::Unreachable { mirror, said },
            Some(Cause::NoSuite) => Error::NoSuite {
                mirror,
                suites,
                said,
            },
            Some(Cause::NoPackage(package)) => Error::NoPackage { suites, package },
            None => Error::Apt {
                command: command.to_owned(),
                said,
            },
        }
    }
}

/// What apt's words mean.
enum Cause {
    Signature,
    Expired,
    Mismatch,
    Unreachable,
    NoSuite,
    NoPackage(String),
}

/// Phrases of apt and of its methods. The order matters: whatever else goes wrong, a bad signature is what counts, and
/// an unreachable mirror also "does not have a Release file".
fn cause(said: &str) -> Option<Cause> {
    const SIGNATURE: [&str; 8] = [
        "NO_PUBKEY",
        "BADSIG",
        "EXPKEYSIG",
        "REVKEYSIG",
        "signatures were invalid",
        "signatures couldn't be verified",
        "Clearsigned file isn't valid",
        "is not signed",
    ];
    const EXPIRED: [&str; 2] = ["is expired", "is not valid yet"];
    const MISMATCH: [&str; 2] = ["Hash Sum mismatch", "File has unexpected size"];
    const UNREACHABLE: [&str; 8] = [
        "Could not resolve",
        "Could not connect",
        "Unable to connect",
        "Connection failed",
        "Connection timed out",
        "Temporary failure",
        "Network is unreachable",
        "Could not handshake",
    ];
    let has = |phrases: &[&str]| phrases.iter().any(|phrase| said.contains(phrase));
    if has(&SIGNATURE) {
        Some(Cause::Signature)
    } else if has(&EXPIRED) {
        Some(Cause::Expired)
    } else if has(&MISMATCH) {
        Some(Cause::Mismatch)
    } else if has(&UNREACHABLE) {
        Some(Cause::Unreachable)
    } else if has(&["does not have a Release file"]) {
        Some(Cause::NoSuite)
    } else {
        let package = said
            .split("Unable to locate package ")
            .nth(1)?
            .split_whitespace()
            .next()?;
        Some(Cause::NoPackage(package.to_owned()))
    }
}

/// The error lines of what apt said.
fn shortened(said: &str) -> String {
    let lines: Vec<&str> = said
        .lines()
        .filter(|line| line.starts_with("E: ") || line.starts_with("W: "))
        .collect();
    let mut text = if lines.is_empty() {
        said.trim().to_owned()
    } else {
        lines.join(" ")
    };
    if text.len() > MAX_SAID {
        text.truncate(text.floor_char_boundary(MAX_SAID));
        text.push_str(" ...");
    }
    text
}

fn private_settings(folder: &str) -> String {
    format!(
        r#"Dir::Etc::main "/dev/null";
Dir::Etc::parts "/dev/null";
Dir::Etc::sourcelist "{folder}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "/dev/null";
Dir::State "{folder}/state";
Dir::State::status "{folder}/status";
Dir::Cache "{folder}/cache";
Dir::Log "{folder}/log";
APT::Architecture "{ARCHITECTURE}";
APT::Architectures "{ARCHITECTURE}";
// The folder is private to us, so apt's own user could not enter it.
APT::Sandbox::User "root";
APT::Update::Error-Mode "any";
Acquire::Languages "none";
Acquire::PDiffs "false";
Debug::NoLocking "true";
"#
    )
}

/// The host's settings that [`HOST_SETTINGS`] names, in apt.conf(5)'s form.
fn host_settings() -> Result<String, Error> {
    let output = output(Command::new("apt-config").args([
        "dump",
        "--no-empty",
        "--format",
        "%F \"%v\";%n",
        "Acquire",
    ]))?;
    let lines = String::from_utf8_lossy(&output.stdout);
    Ok(lines
        .lines()
        .filter(|line| HOST_SETTINGS.iter().any(|name| line.starts_with(name)))
        .map(|line| format!("{line}\n"))
        .collect())
}

/// Runs one of apt's programs to its end, in the C locale.
pub(super) fn output(command: &mut Command) -> Result<Output, Error> {
    let output = command
        .env("LC_ALL", "C")
        .env_remove("LANGUAGE")
        .stdin(Stdio::null())
        .output();
    output.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Error::NoApt,
        _ => Error::Io {
            path: command.get_program().into(),
            source,
        },
    })
}
