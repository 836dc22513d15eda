//! Block requests that the fuzzer writes: see `cenote_virtio::block::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cenote_virtio::block::fuzz::requests(data));
