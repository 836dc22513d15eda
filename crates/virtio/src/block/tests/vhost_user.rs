//! The same device, lent to another VMM.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use vhost::VhostBackend;
use vhost::vhost_user::VhostUserFrontend;
use vhost::vhost_user::message::VhostUserConfigFlags;

use super::*;
use crate::testing::RAM_SIZE;
use crate::vhost_user::fake_frontend::{connect, region, start_ring};
use crate::vhost_user::serve;

#[test]
fn another_vmm_reads_and_writes_through_two_queues() {
    let mut driver = FakeDriver::new(2);
    let device = Block::new(&driver.spec()).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let handle = serve(Box::new(device), ours, Arc::default()).unwrap();
    let mut frontend = connect(theirs, 2);
    assert_eq!(frontend.get_queue_num().unwrap(), 2);
    let (_, capacity) = frontend
        .get_config(0, 8, VhostUserConfigFlags::empty(), &[0; 8])
        .unwrap();
    assert_eq!(capacity, SECTORS.to_le_bytes());

    let ram = region(driver.guest.file(), 0, RAM_SIZE);
    frontend.set_mem_table(&[ram]).unwrap();
    let start =
        |frontend: &mut vhost::vhost_user::Frontend, driver: &FakeDriver, bases: [u16; 2]| {
            for (index, queue) in driver.queues.iter().enumerate() {
                start_ring(frontend, index, queue, bases[index]);
                frontend.set_vring_enable(index, true).unwrap();
            }
        };
    start(&mut frontend, &driver, [0, 0]);
    assert_eq!(driver.write(20, &[0x42; 512]), OK);
    let page = driver.page;
    let slot = driver.offer_on(1, IN, 20, &[Buffer::writable(page + 4096, 512)]);
    driver.queues[1].notify();
    assert_eq!(driver.queues[1].wait_used(), (slot.head, 513));
    assert_eq!(driver.guest.read(page + 4096, 512), [0x42; 512]);

    // Stopped and started, as for a migration or a paused guest, each queue goes on where it was.
    let bases = [0, 1].map(|index| frontend.get_vring_base(index).unwrap() as u16);
    assert_eq!(bases, [1, 1]);
    let slot = driver.offer_on(1, IN, 21, &[Buffer::writable(page, 512)]);
    start(&mut frontend, &driver, bases);
    assert_eq!(driver.queues[1].wait_used(), (slot.head, 513));
    assert_eq!(driver.guest.read(page, 512), sector_of(pattern(21)));
    drop(frontend);
    drop(handle);
}
