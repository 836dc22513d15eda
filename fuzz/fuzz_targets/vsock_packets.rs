//! Packets of a hostile guest and the host around them: see `cenote_virtio::vsock::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| cenote_virtio::vsock::fuzz::packets(data));
