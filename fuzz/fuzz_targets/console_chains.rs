//! Buffers for a console that the fuzzer offers: see `cenote_virtio::console::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cenote_virtio::console::fuzz::chains(data));
