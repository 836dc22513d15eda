//! Reads what a guest sends: frames from any bytes, and every message that one of them could carry.

#![no_main]

use cenote_protocol::{
    Exited, Failed, FrameReader, Hello, Ready, Refused, Started, StdinTaken, Stopped,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let mut reader = FrameReader::new(data);
    while let Ok(Some(frame)) = reader.next_frame() {
        assert!(frame.payload.len() <= frame.kind.limit());
        let _ = frame.message::<Hello>();
        let _ = frame.message::<Ready>();
        let _ = frame.message::<Failed>();
        let _ = frame.message::<Stopped>();
        let _ = frame.message::<Started>();
        let _ = frame.message::<Refused>();
        let _ = frame.message::<StdinTaken>();
        let _ = frame.message::<Exited>();
    }
});
