//! Flush requests that the fuzzer writes: see `cenote_virtio::pmem::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cenote_virtio::pmem::fuzz::requests(data));
