use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use proptest::prelude::*;

use super::{LENGTH, MAX_FRAME, Relay, RelayError, permitted};
use crate::egress::Rules;

/// An ARP frame is permitted whatever it says.
fn good(length: usize, fill: u8) -> Vec<u8> {
    let mut frame = vec![fill; length.max(14)];
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    framed(&frame)
}

/// An IPv6 frame never is.
fn bad(length: usize) -> Vec<u8> {
    let mut frame = vec![0xbb; length.max(14)];
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    framed(&frame)
}

fn framed(frame: &[u8]) -> Vec<u8> {
    [&(frame.len() as u32).to_be_bytes()[..], frame].concat()
}

fn carry(stream: &[u8]) -> Result<(usize, Vec<Vec<u8>>), RelayError> {
    let mut writes = Vec::new();
    let rules = Rules::new(&[]);
    let used = permitted(
        stream,
        |frame| rules.permit(frame),
        |run| {
            writes.push(run.to_vec());
            Ok(())
        },
    )?;
    Ok((used, writes))
}

#[test]
fn neighbours_are_written_together() {
    let stream = [good(60, 1), good(1500, 2), bad(60), good(42, 3)].concat();
    let (used, writes) = carry(&stream).unwrap();
    assert_eq!(used, stream.len());
    assert_eq!(writes, [[good(60, 1), good(1500, 2)].concat(), good(42, 3)]);
}

#[test]
fn a_frame_that_is_not_there_whole_waits() {
    let whole = good(60, 1);
    for length in 0..whole.len() {
        let (used, writes) = carry(&whole[..length]).unwrap();
        assert_eq!((used, writes.len()), (0, 0), "{length} bytes");
    }
    let (used, writes) = carry(&[good(60, 1), whole[..30].to_vec()].concat()).unwrap();
    assert_eq!((used, writes), (whole.len(), vec![whole]));
}

#[test]
fn an_impossible_length_ends_the_network() {
    assert_eq!(carry(&good(MAX_FRAME, 1)).unwrap().0, LENGTH + MAX_FRAME);
    let stream = u32::try_from(MAX_FRAME + 1).unwrap().to_be_bytes();
    assert!(matches!(carry(&stream), Err(RelayError::TooLong(length)) if length == MAX_FRAME + 1));
    assert!(matches!(
        carry(&[0xff; 9]),
        Err(RelayError::TooLong(0xffff_ffff))
    ));
}

#[test]
fn both_directions_flow_and_either_end_closes_both() {
    for machine_closes in [true, false] {
        let (mut machine, relay_machine) = UnixStream::pair().unwrap();
        let (mut passt, relay_passt) = UnixStream::pair().unwrap();
        let _relay = Relay::start(relay_machine, relay_passt, Rules::new(&[])).unwrap();

        machine.write_all(&[bad(60), good(60, 7)].concat()).unwrap();
        let mut received = vec![0; good(60, 7).len()];
        passt.read_exact(&mut received).unwrap();
        assert_eq!(received, good(60, 7));

        passt.write_all(&bad(90)).unwrap();
        let mut received = vec![0; bad(90).len()];
        machine.read_exact(&mut received).unwrap();
        assert_eq!(received, bad(90), "what comes in is not judged");

        let other = if machine_closes {
            drop(machine);
            &mut passt
        } else {
            drop(passt);
            &mut machine
        };
        assert_eq!(other.read(&mut [0; 1]).unwrap(), 0);
    }
}

#[test]
fn dropping_the_relay_closes_both_ends() {
    let (mut machine, relay_machine) = UnixStream::pair().unwrap();
    let (mut passt, relay_passt) = UnixStream::pair().unwrap();
    drop(Relay::start(relay_machine, relay_passt, Rules::new(&[])).unwrap());
    assert_eq!(machine.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(passt.read(&mut [0; 1]).unwrap(), 0);
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        frames in proptest::collection::vec((any::<bool>(), 14..200usize, any::<u8>()), 0..20),
        cuts in proptest::collection::vec(1..64usize, 1..20),
    ) {
        let stream: Vec<_> = frames.iter().flat_map(|&(is_good, length, fill)| {
            if is_good { good(length, fill) } else { bad(length) }
        }).collect();
        let expected: Vec<_> = frames.iter().filter(|frame| frame.0)
            .flat_map(|&(_, length, fill)| good(length, fill)).collect();
        let (mut buffer, mut written, mut at) = (Vec::new(), Vec::new(), 0);
        for cut in cuts.iter().cycle() {
            let end = stream.len().min(at + cut);
            buffer.extend(&stream[at..end]);
            at = end;
            let (used, writes) = carry(&buffer).unwrap();
            written.extend(writes.concat());
            buffer.drain(..used);
            if at == stream.len() {
                break;
            }
        }
        prop_assert!(buffer.is_empty());
        prop_assert_eq!(written, expected);
    }
}
