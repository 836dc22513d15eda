//! Images that other tools made, taken into a store.

mod layouts;
mod registries;
mod support;
