//! Rings and descriptor chains in memory that the fuzzer writes: see `cenote_virtio::queue::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cenote_virtio::queue::fuzz::rings(data));
