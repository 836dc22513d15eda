//! The user's terminal: raw while a container's terminal is shown in it, restored whatever happens, and the
//! signals and window changes that travel into the container.

pub mod raw;
pub mod relay;
