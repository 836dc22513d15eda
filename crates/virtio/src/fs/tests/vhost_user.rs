//! The same device, lent to another VMM.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use vhost::VhostBackend;
use vhost::vhost_user::VhostUserFrontend;

use super::*;
use crate::testing::RAM_SIZE;
use crate::vhost_user::fake_frontend::{connect, region, start_ring};
use crate::vhost_user::serve;

#[test]
fn another_vmm_mounts_a_directory() {
    let mut driver = FakeDriver::new(2);
    let device = Fs::new(driver.spec()).unwrap();
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut handle = serve(Box::new(device), ours, Arc::default()).unwrap();
    let mut frontend = connect(theirs, 3);
    assert_eq!(frontend.get_queue_num().unwrap(), 3);
    let ram = region(driver.guest.file(), 0, RAM_SIZE);
    frontend.set_mem_table(&[ram]).unwrap();
    let start =
        |frontend: &mut vhost::vhost_user::Frontend, driver: &FakeDriver, bases: [u16; 3]| {
            for (index, queue) in driver.queues.iter().enumerate() {
                start_ring(frontend, index, queue, bases[index]);
                frontend.set_vring_enable(index, true).unwrap();
            }
        };
    start(&mut frontend, &driver, [0; 3]);
    driver.init();
    let fh = driver.create("f");

    // Stopped and started, as for a paused guest, the client knows what it knew.
    let bases = [0, 1, 2].map(|index| frontend.get_vring_base(index).unwrap() as u16);
    assert_eq!(bases, [0, 2, 0]);
    start(&mut frontend, &driver, bases);
    driver.guest.write(driver.data, b"some data");
    let from = [Buffer::readable(driver.data, 9)];
    assert_eq!(driver.write(fh, 0, 9, &from), Ok(9));
    assert_eq!(driver.server.directory().known(), (2, 1, 0));

    // When it goes away everything is let go.
    drop(frontend);
    handle.wait().unwrap();
    assert_eq!(driver.server.directory().known(), (1, 0, 0));
}
