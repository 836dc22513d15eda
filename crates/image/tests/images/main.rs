//! Images that other tools made, taken into a store.

mod broken_registry;
mod formats;
mod handmade;
mod layouts;
mod processes;
mod refused;
mod registries;
mod server;
mod support;
mod tree;
