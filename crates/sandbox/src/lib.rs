//! One container in one VM: its specification, boot, exec, logs, stop and state on disk.
//!
//! Knows nothing of the command line or of registries.
