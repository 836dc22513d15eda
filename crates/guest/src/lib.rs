//! The agent: PID 1 in the VM. It builds the machine and its container as the host's plan says, runs processes for
//! the host and reports how they end.
//!
//! Two processes share the work. [`init`] is PID 1 proper: it reaps orphans and powers off when the agent ends,
//! whatever the reason. Its only child is the [`agent`], which talks to the host. So the agent waits for its own
//! processes by their descriptors, and no orphan of a container can take the place of one of them.
//!
//! From the boot to the first process:
//!
//! ```text
//! init ── fork ──> agent ── modules ── control ──(plan)──> machine: clock, network, sysctl
//!                                                     └──> container: image, overlay, namespaces, mounts
//!         server ── a thread for each process connection ──> launch ──> session (streams, signals, exit)
//! ```
//!
//! The agent trusts the host and nothing else: files of the image are read with limits, paths of the container are
//! resolved inside it, and every failure is either told to the host or one line on the console.

pub mod agent;
pub mod changes;
pub mod child;
pub mod connection;
pub mod container;
pub mod device;
pub mod image;
pub mod init;
pub mod launch;
pub mod log;
pub mod machine;
pub mod modules;
pub mod names;
pub mod network;
pub mod place;
pub mod refresh;
pub mod server;
pub mod session;
pub mod step;
pub mod streams;
pub mod sys;
pub mod trace;
pub mod user;
pub mod vsock;
