use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use proptest::prelude::*;

use super::buffers::Buffers;
use super::messages::{Message, Messages};
use super::{REQUEST_LIMIT, REQUESTS, StreamError};

/// A stream, the other end of which has sent `bytes` in pieces of the `pieces`' sizes, over and over, and is closed.
fn sent(bytes: &[u8], pieces: &[usize]) -> Messages {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let (bytes, pieces) = (bytes.to_vec(), pieces.to_vec());
    std::thread::spawn(move || {
        let mut rest = &bytes[..];
        for piece in pieces.into_iter().cycle() {
            let (now, later) = rest.split_at(piece.min(rest.len()));
            // The receiver stops reading when it has seen something wrong.
            if theirs.write_all(now).is_err() || later.is_empty() {
                return;
            }
            rest = later;
        }
    });
    Messages::new(Arc::new(OwnedFd::from(ours)), REQUESTS)
}

fn message(len: usize) -> Vec<u8> {
    let mut message: Vec<u8> = (0..len).map(|number| (number / 3) as u8).collect();
    message[..4].copy_from_slice(&(len as u32).to_ne_bytes());
    message
}

fn next(messages: &mut Messages, large: &Buffers) -> Result<Option<Vec<u8>>, StreamError> {
    Ok(messages.next(large)?.map(|message| match message {
        Message::Here(bytes) => bytes.to_vec(),
        Message::Long(lent, len) => lent.bytes[..len].to_vec(),
    }))
}

#[test]
fn a_message_has_a_length_that_is_possible() {
    let large = Buffers::new(REQUEST_LIMIT);
    for len in [0, 39, REQUEST_LIMIT as u32 + 1, u32::MAX] {
        let mut bytes = message(40);
        bytes.extend(message(40));
        bytes[40..44].copy_from_slice(&len.to_ne_bytes());
        let mut messages = sent(&bytes, &[80]);
        assert_eq!(next(&mut messages, &large), Ok(Some(message(40))));
        let refused = StreamError::Length {
            len: len as usize,
            least: 40,
            most: REQUEST_LIMIT,
        };
        assert_eq!(next(&mut messages, &large), Err(refused));
    }
}

#[test]
fn a_stream_ends_between_messages() {
    let large = Buffers::new(REQUEST_LIMIT);
    for len in [40, 40_000, REQUEST_LIMIT] {
        let whole = message(len);
        let mut messages = sent(&whole, &[len]);
        assert!(next(&mut messages, &large).unwrap().unwrap() == whole);
        assert_eq!(next(&mut messages, &large), Ok(None));
        for cut in [1, 3, 4, 39, len - 1] {
            let mut messages = sent(&whole[..cut], &[cut]);
            assert_eq!(
                next(&mut messages, &large),
                Err(StreamError::Cut),
                "{cut} of {len}"
            );
        }
    }
}

fn lengths() -> impl Strategy<Value = Vec<usize>> {
    let length = prop_oneof![
        6 => 40usize..200,
        2 => 4_000usize..5_000,
        2 => 32_700usize..32_850,
        1 => 40usize..=REQUEST_LIMIT,
    ];
    prop::collection::vec(length, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn messages_come_as_they_were_sent(
        lengths in lengths(),
        pieces in prop::collection::vec(prop_oneof![1usize..100, 1_000usize..70_000], 1..6),
    ) {
        let bytes: Vec<u8> = lengths.iter().flat_map(|len| message(*len)).collect();
        // Pieces of a byte or two would take long for what is long.
        let pieces: Vec<_> = pieces.iter().map(|piece| piece.max(&(bytes.len() / 2_000)) + 1).collect();
        let large = Buffers::new(REQUEST_LIMIT);
        let mut messages = sent(&bytes, &pieces);
        for len in lengths {
            prop_assert!(next(&mut messages, &large).unwrap() == Some(message(len)));
        }
        prop_assert_eq!(next(&mut messages, &large), Ok(None));
    }

    #[test]
    fn any_bytes_are_taken_apart_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let large = Buffers::new(REQUEST_LIMIT);
        let mut messages = sent(&bytes, &[7]);
        let mut taken = 0;
        while let Ok(Some(message)) = next(&mut messages, &large) {
            taken += message.len();
            prop_assert!((40..=REQUEST_LIMIT).contains(&message.len()));
        }
        prop_assert!(taken <= bytes.len());
    }
}
