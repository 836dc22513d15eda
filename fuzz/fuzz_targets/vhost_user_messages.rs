//! Messages of a VMM that the fuzzer writes: see `cenote_virtio::vhost_user::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cenote_virtio::vhost_user::fuzz::messages(data));
