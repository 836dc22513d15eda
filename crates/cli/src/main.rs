//! `cenote`: run each OCI container in its own microVM.

fn main() {}
