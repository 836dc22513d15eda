//! The boundary "start this VM with these devices", and its implementations.
//!
//! Knows nothing of containers.

pub mod kvm;
