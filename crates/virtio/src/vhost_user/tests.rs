//! The other side of the protocol is played by the `vhost` crate's front-end, as a VMM would.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;
use vhost::VhostBackend;
use vhost::vhost_user::message::VhostUserConfigFlags;
use vhost::vhost_user::{Frontend, VhostUserFrontend};

use super::fake_frontend::{FRONTEND_BASE, addresses, region, start_ring};
use super::*;
use crate::testing::{FakeGuest, RAM_SIZE};
use crate::vsock::fake_driver::FakeDriver;
use crate::vsock::{Vsock, VsockSpec, connect};

/// A VMM, its guest, and the device that it borrows.
struct Vmm {
    frontend: Frontend,
    handle: Handle,
    driver: FakeDriver,
    dir: TempDir,
}

impl Vmm {
    /// Connected, features negotiated, memory announced, no ring set up.
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let device = Vsock::new(&VsockSpec {
            guest_cid: 9,
            socket: dir.path().join("s"),
        })
        .unwrap();
        let (ours, theirs) = UnixStream::pair().unwrap();
        let handle = serve(Box::new(device), ours, Arc::default()).unwrap();
        let vmm = Self {
            frontend: fake_frontend::connect(theirs, 3),
            handle,
            driver: FakeDriver::new(9),
            dir,
        };
        let ram = region(vmm.driver.guest.file(), 0, RAM_SIZE);
        vmm.frontend.set_mem_table(&[ram]).unwrap();
        vmm
    }

    /// Starts the rings for packets, as QEMU does: the event ring stays with the VMM.
    fn start(&mut self, bases: [u16; 2]) {
        for (index, base) in bases.into_iter().enumerate() {
            let driver = if index == 0 {
                &self.driver.rx
            } else {
                &self.driver.tx
            };
            start_ring(&mut self.frontend, index, driver, base);
        }
        for index in 0..2 {
            self.frontend.set_vring_enable(index, true).unwrap();
        }
    }

    fn stop(&mut self) -> [u16; 2] {
        [0, 1].map(|index| self.frontend.get_vring_base(index).unwrap() as u16)
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// Opens a connection to the guest and sends a word each way.
    fn talk(&mut self) -> UnixStream {
        let socket = self.socket();
        let host = thread::spawn(move || connect(&socket, 5).unwrap());
        let ports = self.driver.accept();
        let mut stream = host.join().unwrap();
        stream.write_all(b"ping").unwrap();
        assert_eq!(self.driver.receive().1, b"ping");
        self.driver
            .send(crate::vsock::fake_driver::DATA, ports, 0, b"pong");
        let mut got = [0; 4];
        stream.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"pong");
        stream
    }
}

#[test]
fn a_vmm_borrows_the_device() {
    let mut vmm = Vmm::new();
    assert_eq!(vmm.frontend.get_queue_num().unwrap(), 3);
    let (_, config) = vmm
        .frontend
        .get_config(0, 8, VhostUserConfigFlags::empty(), &[0; 8])
        .unwrap();
    assert_eq!(config, 9u64.to_le_bytes());
    vmm.start([0, 0]);
    vmm.talk();
}

#[test]
fn rings_go_on_where_they_were_stopped() {
    let mut vmm = Vmm::new();
    vmm.start([0, 0]);
    let mut stream = vmm.talk();
    let bases = vmm.stop();
    assert_eq!(bases, [2, 2]);
    stream.write_all(b"meanwhile").unwrap();
    vmm.start(bases);
    assert_eq!(vmm.driver.receive().1, b"meanwhile");
    vmm.talk();
}

#[test]
fn a_driver_that_starts_anew_finds_no_old_connection() {
    let mut vmm = Vmm::new();
    vmm.start([0, 0]);
    let mut stream = vmm.talk();
    vmm.stop();
    vmm.driver = FakeDriver::new(9);
    let ram = region(vmm.driver.guest.file(), 0, RAM_SIZE);
    vmm.frontend.set_mem_table(&[ram]).unwrap();
    vmm.start([0, 0]);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    vmm.talk();
}

#[test]
fn a_device_reset_ends_connections() {
    let mut vmm = Vmm::new();
    vmm.start([0, 0]);
    let mut stream = vmm.talk();
    vmm.frontend.reset_device().unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
}

#[test]
fn memory_may_change_while_the_device_runs() {
    let mut vmm = Vmm::new();
    vmm.start([0, 0]);
    let mut stream = vmm.talk();
    let more = FakeGuest::new();
    assert!(vmm.frontend.get_max_mem_slots().unwrap() >= 20);
    let region = region(more.file(), 1 << 32, RAM_SIZE);
    vmm.frontend.add_mem_region(&region).unwrap();
    stream.write_all(b"after it").unwrap();
    assert_eq!(vmm.driver.receive().1, b"after it");
    vmm.frontend.remove_mem_region(&region).unwrap();
    stream.write_all(b"without it").unwrap();
    assert_eq!(vmm.driver.receive().1, b"without it");
    assert!(
        vmm.frontend.remove_mem_region(&region).is_err(),
        "it is not there any more"
    );
}

#[test]
fn a_file_of_the_host_is_not_ram() {
    let mut regions = regions::Regions::default();
    let message = |addr| region(&tempfile::tempfile().unwrap(), addr, RAM_SIZE).to_region();
    let guest = FakeGuest::new();
    // A file that is not in memory on any machine; that it cannot be mapped does not matter, because it never is.
    let image = File::open("/proc/self/status").unwrap();
    regions
        .add(&message(0), guest.file().try_clone().unwrap())
        .unwrap();
    regions.add(&message(1 << 32), image).unwrap();
    let memory = regions.memory(&Arc::default()).unwrap();
    let copy = |addr| memory.copy_in(&[crate::memory::Span { addr, len: 1 }], 0, b"x");
    copy(RAM_SIZE - 1).unwrap();
    assert!(copy(1 << 32).is_err());
    assert_eq!(
        regions.guest_addr(FRONTEND_BASE + (1 << 32) + 7).unwrap(),
        (1 << 32) + 7
    );
}

#[test]
fn when_the_vmm_goes_away_the_handle_returns_and_the_host_gets_the_rest() {
    let mut vmm = Vmm::new();
    vmm.start([0, 0]);
    let mut stream = vmm.talk();
    drop(vmm.frontend);
    vmm.handle.wait().unwrap();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    let socket = vmm.dir.path().join("s");
    drop(vmm.handle);
    assert!(!socket.exists());
}

#[test]
fn stopping_hangs_up_on_the_vmm() {
    let mut vmm = Vmm::new();
    vmm.start([0, 0]);
    vmm.handle.stop().unwrap();
    assert!(vmm.frontend.get_features().is_err());
}

/// The front-end sends one wrong request: it is refused, and the service ends with an error that says so.
#[track_caller]
fn assert_refused(request: impl FnOnce(&mut Vmm) -> bool) {
    let mut vmm = Vmm::new();
    assert!(request(&mut vmm), "the request was accepted");
    drop(vmm.frontend);
    let error = vmm.handle.wait().unwrap_err();
    assert!(
        matches!(
            error,
            ServeError::Protocol {
                device: "vsock",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn requests_that_make_no_sense_are_refused() {
    assert_refused(|vmm| vmm.frontend.set_features(1 << 63).is_err());
    assert_refused(|vmm| vmm.frontend.set_vring_num(0, 0).is_err());
    assert_refused(|vmm| vmm.frontend.set_vring_num(0, 7).is_err());
    assert_refused(|vmm| {
        let mut outside = addresses(&vmm.driver.rx);
        outside.used_ring_addr = FRONTEND_BASE + RAM_SIZE;
        vmm.frontend.set_vring_addr(0, &outside).is_err()
    });
    assert_refused(|vmm| {
        let file = vmm.driver.guest.file().try_clone().unwrap();
        vmm.frontend
            .set_mem_table(&[region(&file, 0, 2 * RAM_SIZE)])
            .is_err()
    });
    assert_refused(|vmm| {
        let file = vmm.driver.guest.file().try_clone().unwrap();
        vmm.frontend
            .set_mem_table(&[region(&file, 0, RAM_SIZE), region(&file, 4096, RAM_SIZE)])
            .is_err()
    });
}
