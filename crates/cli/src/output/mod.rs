//! What the user sees: listings as tables or JSON, quantities, progress of long work.

pub mod age;
pub mod listing;
pub mod progress;
pub mod quantity;
