//! Chains that a fuzzer writes, as [`worker::fuzz`](crate::worker) spells them.

use std::fs::File;
use std::io::pipe;

use super::{Console, ConsoleSpec};
use crate::testing::Choices;
use crate::worker::fuzz::{MAX_CHAINS, Play};

/// Plays `data`: chains for input after an `r`, for output after any other byte. Input never ends, and nobody reads the
/// output.
///
/// # Panics
///
/// If a chain does not come back as it should: that is a defect of the device.
pub fn chains(data: &[u8]) {
    let mut bytes = Choices::new(data);
    let (_reader, writer) = pipe().expect("a pipe");
    let zeros = File::open("/dev/zero").expect("zeros");
    let console = Console::new(ConsoleSpec {
        output: writer.into(),
        input: Some(zeros.into()),
    })
    .expect("a device");
    let mut play = Play::new(2);
    for _ in 0..MAX_CHAINS {
        let Some(ring) = bytes.next() else { break };
        let index = usize::from(ring != b'r');
        play.chain(index, &mut *console.worker.service(), &mut bytes);
    }
}
