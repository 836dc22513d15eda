//! What a user types behind a flag, turned into what it means: each kind of value in its own file, checked
//! without touching the machine.

pub mod cpus;
pub mod entrypoint;
pub mod env;
pub mod host;
pub mod label;
pub mod mount;
pub mod name;
pub mod network;
pub mod process;
pub mod refused;
pub mod signal;
pub mod size;
pub mod source;
pub mod xattrmap;
