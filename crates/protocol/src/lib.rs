//! The messages between the host and the agent in the guest: versioned, bounded, shared by both sides.
//!
//! Four kinds of connection exist, all over vsock. The *control* connection is opened by the agent to
//! [`CONTROL_PORT`] of the host, once: [`Hello`], [`BootPlan`], [`Owner`] and [`OwnerTaken`] if the plan asks for them, [`Ready`]
//! or [`Failed`], and at the end [`Shutdown`] and [`Stopped`]. A *process* connection is opened by the host to the agent's [`EXEC_PORT`], one for
//! each process: [`ExecRequest`], [`Started`] or [`Refused`], then the process's streams until [`Exited`]. A *change*
//! connection is one to the same port that begins with [`Changed`]; each is answered by [`Refreshed`].
//! A *trace* connection goes to the same port and begins
//! with [`TraceRequest`]: [`Tracing`] or [`Refused`], then [`TraceEvents`], and a [`ClockReading`] for each [`ClockProbe`].
//!
//! Every connection begins with a fixed [`preamble`] in both directions, so that an old agent that meets a new host
//! is a clear error and not a decoding accident. After it only frames travel: see [`frame`]. Nothing here knows how
//! a connection is made or what a message leads to. The page `docs/guest-protocol.md` describes the same for readers.

pub mod boot;
pub mod changes;
pub mod exec;
pub mod frame;
pub mod mount;
pub mod preamble;
pub mod trace;
pub mod window;

pub use boot::{
    BootPlan, BootTimes, ContainerPlan, DnsPlan, ErofsPlan, Failed, Hello, HostEntry, NestedPlan,
    NetworkPlan, Owner, OwnerTaken, Ready, Shutdown, Stopped, Sysctl, Writable,
};
pub use changes::{Changed, ChangedDirectory, Refreshed};
pub use exec::{
    Capabilities, ExecRequest, Exited, ProcessSpec, Refusal, Refused, Rlimit, Signal, Started,
    StdinTaken, Target, WindowSize,
};
pub use frame::{Frame, FrameError, FrameReader, Kind, Message, write_frame, write_message};
pub use mount::{MountPlan, MountSource, ShareTransport};
pub use preamble::{HandshakeError, Side, handshake};
pub use trace::{
    ClockProbe, ClockReading, TraceEvent, TraceEvents, TraceRequest, TraceStep, TracedMount,
    Tracing, is_traced,
};
pub use window::StdinWindow;

/// The version of everything in this crate. It grows with every change of a message, a port or a rule.
pub const VERSION: u32 = 6;

/// Where a container that runs containers of its own finds what the level above lends to it.
pub const OUTER: &str = "/.cenote";

/// The context id under which a guest reaches its host (`VMADDR_CID_HOST` of `linux/vm_sockets.h`).
pub const HOST_CID: u32 = 2;

/// The host's port for the control connection; the agent connects to it.
pub const CONTROL_PORT: u32 = 1024;

/// The agent's port for process connections; the host connects to it.
pub const EXEC_PORT: u32 = 1025;

/// The host's port for the first directory that is shared over vsock; those after it have the next ones.
pub const SHARE_PORT: u32 = 2048;

/// The largest payload of a message, in bytes. A plan or a request carries an environment and some lists; Linux
/// itself lets one process start with at most 6 MiB of arguments, and real ones stay under 128 KiB.
pub const MAX_MESSAGE: usize = 1 << 20;

/// The largest payload of a stream frame (standard input, output, error), in bytes: the size of a Linux pipe, so
/// that one read of a full pipe makes one frame.
pub const MAX_CHUNK: usize = 64 << 10;

/// How many bytes of standard input the host may have sent that the agent has not yet reported as
/// [`StdinTaken`]. It bounds what the agent holds for a process that does not read, while signals and
/// resizes behind those bytes still arrive.
pub const STDIN_WINDOW: u32 = 256 << 10;
