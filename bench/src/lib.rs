//! What the measuring programs share: series of figures, what a command costs, the program under measure, and the report.
//!
//! Each program in `src/bin` answers one question. It measures ours and a peer or a floor in turn (A B A B), so that a noisy
//! machine troubles both alike, and reports medians with their spread, and the ratio of each pair. It prints a table and
//! writes the same as JSON.

pub mod cost;
pub mod files;
pub mod floor;
pub mod host;
pub mod lab;
pub mod layout;
pub mod machine;
pub mod memory;
pub mod report;
pub mod requests;
pub mod series;
pub mod small_files;
pub mod tree;
