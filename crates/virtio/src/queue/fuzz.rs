//! A ring whose memory a fuzzer writes.

use crate::memory::total_len;
use crate::testing::{Choices, FakeGuest};

/// Lets `data` be the available ring's index and everything in a page that is descriptor table, rings and indirect
/// tables at once, and serves it.
///
/// # Panics
///
/// If more is served than a ring can hold, or a chain is longer than it may be: that is a defect.
pub fn rings(data: &[u8]) {
    let mut bytes = Choices::new(data);
    let mut guest = FakeGuest::new();
    let size = 1 << (bytes.u8() % 6);
    let mut driver = guest.driver(0, size);
    let mut ring = driver.ring();
    let index = bytes.u16();
    let rest = bytes.rest();
    let len = rest.len().min(2 * 4096);
    // The driver's first page is the table, the second one the available ring.
    guest.write(driver.layout.desc_table, &rest[..len]);
    driver.set_available(index);
    let mut served = 0;
    while let Ok(Some(popped)) = ring.pop() {
        served += 1;
        assert!(served <= size, "more chains than entries");
        if let Ok(chain) = popped {
            assert!(chain.readable().len() + chain.writable().len() <= usize::from(size));
            assert!(total_len(chain.readable()) + total_len(chain.writable()) <= 1 << 32);
            let mut piece = [0; 64];
            let take = total_len(chain.readable()).min(64) as usize;
            // Addresses are wherever the fuzzer put them: an error is as good as a copy.
            let _ = ring
                .memory()
                .copy_out(chain.readable(), 0, &mut piece[..take]);
            let _ = ring
                .memory()
                .data(chain.writable(), 0, total_len(chain.writable()), true);
            if ring.push(chain, 0).is_err() {
                break;
            }
        }
    }
}
