//! Replays the seeds of the fuzz targets, and random inputs, without a fuzzer.

use cenote_fuse::testing::replay;
use cenote_virtio::block::fuzz::requests;
use cenote_virtio::console::fuzz::chains;
use cenote_virtio::net::fuzz::frames;
use cenote_virtio::queue::fuzz::rings;
use cenote_virtio::vhost_user::fuzz::messages;
use cenote_virtio::vsock::fuzz::packets;
use cenote_virtio::{fs as share, pmem};
use proptest::prelude::*;

#[test]
fn vsock_seeds() {
    replay("vsock_packets", packets);
}

#[test]
fn block_seeds() {
    replay("block_requests", requests);
}

#[test]
fn console_seeds() {
    replay("console_chains", chains);
}

#[test]
fn pmem_seeds() {
    replay("pmem_requests", pmem::fuzz::requests);
}

#[test]
fn net_seeds() {
    replay("net_frames", frames);
}

#[test]
fn share_seeds() {
    replay("fs_requests", share::fuzz::requests);
}

#[test]
fn vhost_user_seeds() {
    replay("vhost_user_messages", messages);
}

#[test]
fn ring_seeds() {
    replay("virtio_rings", rings);
}

/// Plays in which the steps are likely to meet: the letters of the steps and small numbers.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => prop::sample::select(b"acdefgprwmmmm".to_vec()),
        3 => 0u8..16,
        1 => any::<u8>(),
    ];
    prop::collection::vec(byte, 0..600)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn likely_plays(data in likely()) {
        packets(&data);
    }

    #[test]
    fn any_play(data in prop::collection::vec(any::<u8>(), 0..600)) {
        packets(&data);
    }

    #[test]
    fn any_request(data in prop::collection::vec(any::<u8>(), 0..300)) {
        requests(&data);
    }

    /// Requests that are mostly sound.
    #[test]
    fn likely_requests(
        requests_made in prop::collection::vec("[iofgdz][0-9lmxy](=[0-9lmxy]{3})?hh([dDwWcs][hskpt]){0,3}[SW]1\\.", 0..12),
    ) {
        requests(format!(".{}", requests_made.concat()).as_bytes());
    }

    #[test]
    fn likely_chains(data in "([rt=wdDeEoOzZ][0-9pmx]|[.a])*") {
        chains(data.as_bytes());
        pmem::fuzz::requests(data.as_bytes());
    }

    #[test]
    fn any_chain(data in prop::collection::vec(any::<u8>(), 0..600)) {
        chains(&data);
        pmem::fuzz::requests(&data);
    }

    #[test]
    fn likely_frames(data in "([bt][hdwxoHDWXO0-9L]{1,6}[.]|[sr][0-9L]|p0000|[gmep])*") {
        frames(data.as_bytes());
    }

    #[test]
    fn any_frames(data in prop::collection::vec(any::<u8>(), 0..600)) {
        frames(&data);
    }

    #[test]
    fn likely_shares(
        asked in prop::collection::vec("[ilcodrwfkqus][=+-]m?([dwbces][0-9hkpx]){0,2}([SSSDWBCE][0-9hkkkplx]){0,3}\\.", 0..20),
    ) {
        share::fuzz::requests(asked.concat().as_bytes());
    }

    #[test]
    fn any_share(data in prop::collection::vec(any::<u8>(), 0..300)) {
        share::fuzz::requests(&data);
    }

    /// Rings that are set up in any order, between messages of all kinds.
    #[test]
    fn likely_messages(
        sent in prop::collection::vec(
            "[gqNox]9=\\.\\.|p9=Q\\.\\.|f9=F\\.\\.|m9='1'00SB0\\.[mi]\\.|[ar]9=0[0p]SB0\\.m?\\.|[nbE]9='[012]'[01H]\\.\\.|\
             d9='0'0DUA0\\.\\.|d9='1'0dua0\\.\\.|[kc]9=[01]\\.e\\.|[RO]9=\\.\\.|B1='[01]'0\\.\\.|i1='[08]'8'0X\\.\\.",
            0..40,
        ),
    ) {
        messages(sent.concat().as_bytes());
    }

    #[test]
    fn any_message(data in prop::collection::vec(any::<u8>(), 0..600)) {
        messages(&data);
    }

    #[test]
    fn any_ring(data in prop::collection::vec(any::<u8>(), 0..8300)) {
        rings(&data);
    }

    /// Descriptors that are mostly sound, so that chains get long.
    #[test]
    fn likely_ring(
        descriptors in prop::collection::vec((0u64..0x10000, 0u32..200, 0u16..8, 0u16..40), 0..40),
        index in 0u16..40,
    ) {
        let mut data = vec![5];
        data.extend(index.to_le_bytes());
        for (addr, len, flags, next) in descriptors {
            data.extend(addr.to_le_bytes());
            data.extend(len.to_le_bytes());
            data.extend(flags.to_le_bytes());
            data.extend(next.to_le_bytes());
        }
        rings(&data);
    }
}
