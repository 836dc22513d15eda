//! Streams that the fuzzer writes, to a server and to a client's relay: see `cenote_fuse::testing::streams`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cenote_fuse::testing::streams(data));
