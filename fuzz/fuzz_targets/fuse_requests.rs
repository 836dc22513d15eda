//! Requests of a client that the fuzzer writes, to a server of a real directory: see `cenote_fuse::testing::requests`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cenote_fuse::testing::requests(data));
