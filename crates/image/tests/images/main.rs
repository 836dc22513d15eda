//! Images that other tools made, taken into a store.

mod handmade;
mod layouts;
mod refused;
mod registries;
mod support;
mod tree;
