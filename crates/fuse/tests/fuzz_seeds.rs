//! Replays the seeds of the fuzz targets, and random inputs, without a fuzzer.

use cenote_fuse::testing::{device, replay, requests, streams};
use proptest::prelude::*;

#[test]
fn seeds_of_requests() {
    replay("fuse_requests", requests);
}

#[test]
fn seeds_of_streams() {
    replay("fuse_streams", streams);
}

#[test]
fn seeds_of_the_device() {
    replay("fuse_device", device);
}

/// Arguments in which small numbers, names and flags are likely.
fn arguments() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        4 => (0u64..6).prop_map(|number| number.to_le_bytes().to_vec()),
        1 => any::<u64>().prop_map(|number| number.to_le_bytes().to_vec()),
        3 => prop::sample::select(vec![
            b"a\0".to_vec(), b"d\0".to_vec(), b"l\0".to_vec(), b"n\0".to_vec(), b"..\0".to_vec(),
            b"../outside\0".to_vec(), b"user.x\0".to_vec(), b"l/secret\0".to_vec(),
        ]),
        1 => (0u32..0o7777).prop_map(|number| number.to_le_bytes().to_vec()),
    ];
    prop::collection::vec(word, 0..10).prop_map(|words| words.concat())
}

fn request() -> impl Strategy<Value = Vec<u8>> {
    (0u8..140, 0u8..8, arguments()).prop_map(|(operation, node, arguments)| {
        let mut request = vec![operation, node, arguments.len() as u8];
        request.extend(arguments);
        request
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn likely_requests(play in prop::collection::vec(request(), 0..40)) {
        requests(&play.concat());
    }

    #[test]
    fn any_bytes(data in prop::collection::vec(any::<u8>(), 0..2000)) {
        requests(&data);
    }

    #[test]
    fn any_messages(messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 0..40)) {
        let framed = messages.iter().flat_map(|message| {
            let len = message.len() as u16;
            len.to_le_bytes().into_iter().chain(message.iter().copied())
        });
        device(&framed.collect::<Vec<_>>());
    }

    #[test]
    fn any_stream(data in prop::collection::vec(any::<u8>(), 0..2000)) {
        streams(&data);
    }
}
