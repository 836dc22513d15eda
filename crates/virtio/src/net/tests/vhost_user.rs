//! The same device, lent to another VMM.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::slice;
use std::sync::Arc;

use vhost::VhostBackend;
use vhost::vhost_user::message::VhostUserConfigFlags;
use vhost::vhost_user::{Frontend, VhostUserFrontend};

use super::super::fake_driver::{LONGEST, MTU, RING_SIZE, frame, on_stream};
use super::super::{HEADER, Net, NetSpec};
use crate::testing::{Buffer, Driver, FakeGuest, RAM_SIZE};
use crate::vhost_user::fake_frontend::{connect, region, start_ring};
use crate::vhost_user::serve;

fn start(frontend: &mut Frontend, drivers: [&Driver; 2], bases: [u16; 2]) {
    for (index, driver) in drivers.into_iter().enumerate() {
        start_ring(frontend, index, driver, bases[index]);
        frontend.set_vring_enable(index, true).unwrap();
    }
}

#[test]
fn another_vmm_sends_and_receives() {
    let mut guest = FakeGuest::new();
    let (mut rx, mut tx) = (guest.driver(0, RING_SIZE), guest.driver(1, RING_SIZE));
    let page = guest.allocate(1 << 18);
    let (stream, mut peer) = UnixStream::pair().unwrap();
    let device = Net::new(NetSpec {
        stream: stream.into(),
        mac: [2, 0, 0, 0, 0, 1],
        mtu: MTU,
    });
    let (ours, theirs) = UnixStream::pair().unwrap();
    let handle = serve(Box::new(device.unwrap()), ours, Arc::default()).unwrap();
    let mut frontend = connect(theirs, 2);
    assert_eq!(frontend.get_queue_num().unwrap(), 2);
    let (_, mac) = frontend
        .get_config(0, 6, VhostUserConfigFlags::empty(), &[0; 6])
        .unwrap();
    assert_eq!(mac, [2, 0, 0, 0, 0, 1]);

    let ram = region(guest.file(), 0, RAM_SIZE);
    frontend.set_mem_table(&[ram]).unwrap();
    let mut bases = [0, 0];
    for seed in 0..2 {
        // Stopped and started, as for a migration or a paused guest, each queue goes on where it was.
        start(&mut frontend, [&rx, &tx], bases);
        let sent = frame(LONGEST, seed);
        guest.write(page + HEADER as u64, &sent);
        let size = (HEADER + LONGEST) as u32;
        let head = tx.offer(&[Buffer::readable(page, size)]);
        tx.notify();
        assert_eq!(tx.wait_used(), (head, 0));
        let mut got = vec![0; 4 + LONGEST];
        peer.read_exact(&mut got).unwrap();
        assert_eq!(got, on_stream(slice::from_ref(&sent)));

        let addr = page + (1 << 17);
        let head = rx.offer(&[Buffer::writable(addr, size)]);
        rx.notify();
        peer.write_all(&got).unwrap();
        assert_eq!(rx.wait_used(), (head, size));
        assert_eq!(guest.read(addr + HEADER as u64, LONGEST), sent);
        bases = [0, 1].map(|index| frontend.get_vring_base(index).unwrap() as u16);
        assert_eq!(bases, [seed as u16 + 1; 2]);
    }
    drop(frontend);
    drop(handle);
}
