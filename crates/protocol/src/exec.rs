//! A process connection: what is to run, whether it started, and the small messages between its streams.

use serde::{Deserialize, Serialize};

use crate::frame::{Kind, Message};

/// Host to agent, first on a process connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExecRequest {
    /// Where the process runs.
    pub target: Target,
    /// Whether the process lives on its own: the connection ends after [`Started`], its streams are /dev/null.
    pub detach: bool,
    /// The process.
    pub process: ProcessSpec,
}

/// Where a process runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// As the container's first process; its end is the container's end. Once per machine.
    Main,
    /// In the running container, beside its first process.
    Container,
    /// In the machine itself, outside the container: all processes, devices and mounts are visible.
    Vm,
}

/// A process, as an OCI runtime configuration describes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessSpec {
    /// The program and its arguments; at least one. A program without a slash is looked up in `PATH` of `env`.
    pub args: Vec<String>,
    /// The environment as `NAME=value`. The agent adds `HOME` from /etc/passwd, `PATH`, `HOSTNAME` and (with a
    /// terminal) `TERM` where they are missing.
    pub env: Vec<String>,
    /// The working directory, absolute.
    pub cwd: String,
    /// Whether a missing working directory is made (podman: yes if the image names it, no for `-w`).
    pub create_cwd: bool,
    /// `USER[:GROUP]`, each a name of the container's /etc/passwd and /etc/group or a number; empty is root.
    pub user: String,
    /// A terminal of this size; without one, output and error are separate pipes.
    pub terminal: Option<WindowSize>,
    /// Whether standard input is forwarded. If not: /dev/null, or a terminal on which nobody types.
    pub stdin: bool,
    /// What the process may do beyond its user's rights.
    pub capabilities: Capabilities,
    /// Limits beside the defaults.
    pub rlimits: Vec<Rlimit>,
    /// Whether set-user-id programs and file capabilities are without effect.
    pub no_new_privileges: bool,
    /// Whether a small first process reaps orphans and passes signals on (`--init`). For [`Target::Main`] only.
    pub init: bool,
}

/// The size of a terminal in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSize {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub cols: u16,
}

/// A set of capabilities: bit N stands for capability N of `linux/capability.h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities(pub u64);

impl Capabilities {
    /// None.
    pub const NONE: Capabilities = Capabilities(0);

    /// All; the agent leaves out those that its kernel does not know.
    pub const ALL: Capabilities = Capabilities(u64::MAX);

    /// What podman gives an ordinary container: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP,
    /// NET_BIND_SERVICE, SYS_CHROOT, SETFCAP.
    pub const DEFAULT: Capabilities = Capabilities(
        1 << 0
            | 1 << 1
            | 1 << 3
            | 1 << 4
            | 1 << 5
            | 1 << 6
            | 1 << 7
            | 1 << 8
            | 1 << 10
            | 1 << 18
            | 1 << 31,
    );
}

/// A resource limit (`setrlimit(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// The number of the resource, such as 7 for `RLIMIT_NOFILE`.
    pub resource: u32,
    /// The limit in force; `u64::MAX` is none.
    pub soft: u64,
    /// How far the process may raise it; `u64::MAX` is without end.
    pub hard: u64,
}

/// Agent to host: the program runs. From here on the request must not be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// The process id in the machine (not in the container).
    pub pid: u32,
}

/// Agent to host: nothing was started; the request may be repeated. The connection ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The reason, for a program.
    pub reason: Refusal,
    /// The reason, for a person: what failed and on what.
    pub message: String,
}

/// Why nothing was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The program does not exist.
    NotFound,
    /// The program exists but cannot be executed, or is a directory.
    CannotExecute,
    /// The user or group does not exist.
    BadUser,
    /// The working directory does not exist or cannot be entered.
    BadWorkdir,
    /// The request contradicts itself.
    BadRequest,
    /// The container does not run: not yet, or no longer.
    NotRunning,
    /// The container's first process was started before.
    AlreadyStarted,
    /// The guest ran out of something, or its kernel refused.
    System,
}

impl Refusal {
    /// The exit code that podman gives for this failure: 125, 126 or 127.
    pub fn exit_code(self) -> u8 {
        match self {
            Refusal::NotFound => 127,
            Refusal::CannotExecute | Refusal::BadWorkdir => 126,
            _ => 125,
        }
    }
}

/// Agent to host: so many more bytes of standard input have reached the process, or have been thrown away because it
/// closed its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StdinTaken {
    /// The number of bytes.
    pub bytes: u32,
}

/// Host to agent: a signal for the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signal {
    /// The number as on x86-64 and aarch64 Linux.
    pub number: u8,
}

/// Agent to host, last: how the process ended. All that it wrote before has been sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exited {
    /// It returned or called exit.
    Code(u8),
    /// A signal of this number ended it.
    Signal(u8),
}

impl Exited {
    /// The code that a shell would report: the process's own, or 128 and the signal's number.
    pub fn exit_code(self) -> u8 {
        match self {
            Exited::Code(code) => code,
            Exited::Signal(number) => number.saturating_add(128),
        }
    }
}

impl Message for ExecRequest {
    const KIND: Kind = Kind::ExecRequest;
}

impl Message for Started {
    const KIND: Kind = Kind::Started;
}

impl Message for Refused {
    const KIND: Kind = Kind::Refused;
}

impl Message for StdinTaken {
    const KIND: Kind = Kind::StdinTaken;
}

impl Message for WindowSize {
    const KIND: Kind = Kind::Resize;
}

impl Message for Signal {
    const KIND: Kind = Kind::Signal;
}

impl Message for Exited {
    const KIND: Kind = Kind::Exited;
}
