//! A host of its own for each test, and a guest without a virtual machine.

pub mod guest;
pub mod host;
