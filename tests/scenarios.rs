//! What users do with the program, from outside: each test is a session on a machine of its own.
//!
//! A test boots real virtual machines, which takes seconds of emulation each. So a session looks at many things in one
//! sandbox where they do not disturb each other.

mod crashes;
mod exec;
mod fixture;
mod fsd;
mod images;
mod kernel;
mod lifecycle;
mod machine;
mod memory;
mod mistakes;
mod nesting;
mod network;
#[path = "../crates/debian/tests/repository/package.rs"]
mod package;
mod run;
mod shares;
mod soak;
mod terminals;
#[path = "../crates/kernel/tests/toolchain/mod.rs"]
mod toolchain;
mod traces;
mod volumes;
