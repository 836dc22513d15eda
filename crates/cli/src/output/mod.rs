//! What the user sees: listings as tables or JSON, progress of long work.

pub mod age;
pub mod listing;
pub mod progress;
