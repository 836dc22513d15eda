use std::io::{Read, Write};
use std::net::Shutdown;
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;

use super::*;
use crate::testing::Buffer;
use crate::vsock::connect;
use crate::vsock::fake_driver::{CREDIT, FakeDriver, RING_SIZE};
use crate::vsock::packet::{Op, SHUTDOWN_BOTH, SHUTDOWN_SEND};

/// A device that runs, its driver, and the path of its socket.
struct Running {
    device: Vsock,
    driver: FakeDriver,
    dir: TempDir,
}

impl Running {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let spec = VsockSpec {
            guest_cid: 3,
            socket: dir.path().join("s"),
        };
        let mut device = Vsock::new(&spec).unwrap();
        let driver = FakeDriver::new(3);
        let rings = [Some(&driver.rx), Some(&driver.tx), Some(&driver.event)];
        device
            .activate(driver.guest.activation(feature::RING, &rings))
            .unwrap();
        Self {
            device,
            driver,
            dir,
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }
}

#[test]
fn the_configuration_space_is_the_context_id() {
    let dir = TempDir::new().unwrap();
    let spec = VsockSpec {
        guest_cid: 0x0102_0304,
        socket: dir.path().join("s"),
    };
    let device = Vsock::new(&spec).unwrap();
    let mut config = [0xff; 12];
    device.read_config(0, &mut config);
    assert_eq!(config, [4, 3, 2, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut byte = [0xff];
    device.read_config(2, &mut byte);
    assert_eq!(byte, [2]);
    device.read_config(u64::MAX, &mut byte);
    assert_eq!(byte, [0]);
    assert_eq!(
        device.save(),
        DeviceState::Vsock(VsockState {
            guest_cid: 0x0102_0304
        })
    );
}

#[test]
fn reserved_context_ids_are_refused() {
    let dir = TempDir::new().unwrap();
    for cid in [0, 1, 2, u64::from(u32::MAX), 1 << 32 | 5] {
        let spec = VsockSpec {
            guest_cid: cid,
            socket: dir.path().join("s"),
        };
        assert!(matches!(Vsock::new(&spec), Err(VsockError::ReservedCid { cid: c }) if c == cid));
    }
}

#[test]
fn megabytes_go_both_ways_unchanged() {
    let mut running = Running::new();
    let socket = running.socket();
    let data: Vec<u8> = (0..4u32 << 20)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let copy = data.clone();
    let host = thread::spawn(move || {
        let mut stream = connect(&socket, 5).unwrap();
        stream.write_all(&copy).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        stream.read_to_end(&mut back).unwrap();
        assert!(back == copy, "the bytes differ");
    });
    let driver = &mut running.driver;
    let ports = driver.accept();
    let mut got = Vec::new();
    // The guest hears of the end only after all bytes.
    let mut last = loop {
        let (header, payload) = driver.receive();
        match Op::from_number(header.op.get()) {
            Some(Op::Data) => got.extend(payload),
            Some(Op::Shutdown) => break header,
            Some(Op::CreditRequest) => {}
            other => panic!("{other:?}"),
        }
        // One packet of credit for every few, as Linux does it.
        if got.len() % (CREDIT as usize / 4) < 4096 {
            driver.send(Op::CreditUpdate, ports, 0, &[]);
        }
    };
    assert!(got == data, "the bytes differ");
    // The guest sends as much as the device has room for, and waits for updates.
    let mut sent = 0;
    for packet in data.chunks(60_000) {
        while sent - last.fwd_cnt.get() as usize + packet.len() > last.buf_alloc.get() as usize {
            last = driver.expect(Op::CreditUpdate).0;
        }
        driver.send(Op::Data, ports, 0, packet);
        sent += packet.len();
    }
    driver.send(Op::Shutdown, ports, SHUTDOWN_BOTH, &[]);
    host.join().unwrap();
}

#[test]
fn connections_survive_a_pause() {
    let mut running = Running::new();
    let socket = running.socket();
    let host = thread::spawn(move || connect(&socket, 5).unwrap());
    let ports = running.driver.accept();
    let mut stream = host.join().unwrap();

    let positions = running.device.pause();
    let [Some(rx), Some(tx), Some(event)] = positions[..] else {
        panic!("{positions:?}")
    };
    assert_eq!((rx.next_avail, rx.next_used), (1, 1));
    assert_eq!((tx.next_avail, tx.next_used), (1, 1));
    assert!(running.device.pause().is_empty());
    stream.write_all(b"written meanwhile").unwrap();

    let driver = &mut running.driver;
    let rings = [
        Some((&driver.rx, rx)),
        Some((&driver.tx, tx)),
        Some((&driver.event, event)),
    ];
    running
        .device
        .activate(driver.guest.activation_at(feature::RING, &rings))
        .unwrap();
    assert_eq!(driver.expect(Op::Data).1, b"written meanwhile");
    driver.send(Op::Data, ports, 0, b"back");
    let mut back = [0; 4];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"back");
}

#[test]
fn a_reset_ends_connections_and_the_next_driver_gets_new_ones() {
    let mut running = Running::new();
    let socket = running.socket();
    let host = thread::spawn(move || connect(&socket, 5).unwrap());
    running.driver.accept();
    let mut stream = host.join().unwrap();
    running.device.pause();
    running.device.reset();
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);

    let mut driver = FakeDriver::new(3);
    let rings = [Some(&driver.rx), Some(&driver.tx), None];
    running
        .device
        .activate(driver.guest.activation(feature::RING, &rings))
        .unwrap();
    let socket = running.socket();
    let host = thread::spawn(move || connect(&socket, 6).unwrap());
    assert_eq!(driver.accept().guest, 6);
    host.join().unwrap();
}

#[test]
fn a_broken_ring_goes_out_of_service_alone() {
    let mut running = Running::new();
    let driver = &mut running.driver;
    driver.tx.publish(RING_SIZE);
    driver.tx.notify();
    // The other direction is served on: the request arrives, although no answer can be heard.
    let socket = running.dir.path().join("s");
    let host = thread::spawn(move || connect(&socket, 5));
    driver.expect(Op::Request);
    let positions = running.device.pause();
    assert!(positions[0].is_some() && positions[1].is_none());
    // After a reset of the device, a sound driver is served again.
    running.device.reset();
    assert!(host.join().unwrap().is_err());
    let mut driver = FakeDriver::new(3);
    let rings = [Some(&driver.rx), Some(&driver.tx), None];
    running
        .device
        .activate(driver.guest.activation(feature::RING, &rings))
        .unwrap();
    let socket = running.dir.path().join("s");
    let host = thread::spawn(move || connect(&socket, 5).unwrap());
    driver.accept();
    host.join().unwrap();
}

#[test]
fn a_restored_device_tells_the_guest_that_its_connections_are_gone() {
    let dir = TempDir::new().unwrap();
    let mut device = Vsock::restore(&VsockState { guest_cid: 3 }, dir.path().join("s")).unwrap();
    let mut driver = FakeDriver::new(3);
    let page = driver.guest.allocate(4096);
    driver.guest.write(page, &[0xff; 8]);
    driver.event.offer(&[Buffer::writable(page, 2)]);
    driver.event.offer(&[Buffer::writable(page, 8)]);
    let rings = [Some(&driver.rx), Some(&driver.tx), Some(&driver.event)];
    device
        .activate(driver.guest.activation(feature::RING, &rings))
        .unwrap();
    assert_eq!(driver.event.wait_used(), (0, 0));
    assert_eq!(driver.event.wait_used(), (1, 4));
    assert_eq!(
        driver.guest.read(page, 8),
        [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]
    );
}

#[test]
fn hundreds_of_clients_at_once_are_all_served() {
    let mut running = Running::new();
    let socket = running.socket();
    let clients = thread::spawn(move || {
        let clients: Vec<_> = (0..300)
            .map(|port| {
                let socket = socket.clone();
                thread::spawn(move || {
                    let mut stream = connect(&socket, port).unwrap();
                    let mut got = String::new();
                    stream.read_to_string(&mut got).unwrap();
                    assert_eq!(got, format!("this is port {port}"));
                })
            })
            .collect();
        clients
            .into_iter()
            .for_each(|client| client.join().unwrap());
    });
    for _ in 0..300 {
        // Other packets may come between: the clients that were served hang up.
        let ports = loop {
            let (header, _) = running.driver.receive();
            if Op::from_number(header.op.get()) == Some(Op::Request) {
                break super::super::connection::Ports {
                    host: header.src_port.get(),
                    guest: header.dst_port.get(),
                };
            }
        };
        let driver = &mut running.driver;
        driver.send(Op::Response, ports, 0, &[]);
        driver.send(
            Op::Data,
            ports,
            0,
            format!("this is port {}", ports.guest).as_bytes(),
        );
        driver.send(Op::Shutdown, ports, SHUTDOWN_SEND, &[]);
    }
    clients.join().unwrap();
}

#[test]
fn dropping_the_device_ends_everything() {
    let mut running = Running::new();
    let socket = running.socket();
    let host = thread::spawn(move || connect(&socket, 5).unwrap());
    running.driver.accept();
    let mut stream = host.join().unwrap();
    let socket = running.socket();
    drop(running.device);
    assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    assert!(!socket.exists());
}
