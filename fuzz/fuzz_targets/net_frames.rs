//! Frames of a hostile guest and a hostile stream: see `cenote_virtio::net::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cenote_virtio::net::fuzz::frames(data));
