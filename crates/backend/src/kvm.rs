//! Whether this machine's KVM can run an ordinary kernel. Running containers on it is not done yet.

pub mod probe;
