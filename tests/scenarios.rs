//! What users do with the program, from outside: each test is a session on a machine of its own.
//!
//! A test boots real virtual machines, which takes seconds of emulation each. So a session looks at many things in one
//! sandbox where they do not disturb each other.

mod exec;
mod fixture;
mod images;
mod lifecycle;
mod memory;
mod mistakes;
mod nesting;
mod network;
mod run;
mod soak;
mod terminals;
