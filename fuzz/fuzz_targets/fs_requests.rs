//! Requests to a shared directory that the fuzzer writes: see `cenote_virtio::fs::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cenote_virtio::fs::fuzz::requests(data));
