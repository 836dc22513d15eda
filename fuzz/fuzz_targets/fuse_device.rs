//! Messages as `/dev/fuse` brings them, which the fuzzer writes: see `cenote_fuse::testing::device`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cenote_fuse::testing::device(data));
