//! Requests that a fuzzer writes, as [`worker::fuzz`](crate::worker) spells them.

use super::{ALIGNMENT, Pmem, PmemSpec};
use crate::testing::Choices;
use crate::worker::fuzz::{MAX_CHAINS, Play};

/// Plays `data`: a first byte, `w` for a range that can be written, and then chains.
///
/// # Panics
///
/// If a request does not come back as it should: that is a defect of the device.
pub fn requests(data: &[u8]) {
    let mut bytes = Choices::new(data);
    let file = (bytes.next() == Some(b'w')).then(|| tempfile::tempfile().expect("a file"));
    let pmem = Pmem::new(PmemSpec {
        start: 1 << 32,
        size: ALIGNMENT,
        writable: file.into_iter().collect(),
    })
    .expect("a sound range");
    let mut play = Play::new(1);
    for _ in 0..MAX_CHAINS {
        if bytes.is_empty() {
            break;
        }
        play.chain(0, &mut *pmem.worker.service(), &mut bytes);
    }
}
