//! One container in one VM: its specification, boot, exec, logs, stop and state on disk.
//!
//! A [`Store`] holds sandboxes; [`Sandbox`] is a handle on one, from any process. The process that calls
//! [`monitor::run`] owns the machine until its end; `exec` speaks to the guest directly, everything else goes through the
//! sandbox's folder, its lock and the monitor's socket.
//!
//! Knows nothing of the command line or of registries.

pub mod boot;
mod changes;
mod console;
mod control;
pub mod detach;
pub mod disk;
mod exec;
mod follow;
pub mod host;
mod json;
pub mod log;
pub mod machine;
pub mod monitor;
pub mod mount;
pub mod nesting;
pub mod observe;
pub mod paths;
mod pause;
mod removal;
pub mod sandbox;
pub mod session;
mod share;
mod share_port;
pub mod spec;
pub mod state;
mod stop;
pub mod store;
pub mod timing;
pub mod volume;
mod watch;

pub use follow::LogOptions;
pub use host::Host;
pub use monitor::Outcome;
pub use paths::Paths;
pub use sandbox::Sandbox;
pub use session::{Control, Stdio};
pub use spec::Spec;
pub use state::State;
pub use store::Store;
pub use timing::Timing;
pub use volume::Volumes;
