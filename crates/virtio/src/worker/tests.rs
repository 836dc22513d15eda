use std::io::pipe;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::*;
use crate::testing::{Buffer, Driver, FakeGuest};

/// Gives chains back, and reports every round and how many chains it had.
struct Report {
    rounds: Sender<usize>,
    source: Option<OwnedFd>,
    limit: Option<Duration>,
}

impl Service for Report {
    fn serve(&mut self, ring: &mut Ring) -> Result<bool, RingError> {
        let (chains, more) = take_batch(ring)?;
        self.rounds.send(chains.len()).unwrap();
        for chain in chains {
            ring.push(chain, 0)?;
        }
        ring.notify()?;
        Ok(more)
    }

    fn sources(&self) -> Vec<BorrowedFd<'_>> {
        self.source.iter().map(AsFd::as_fd).collect()
    }

    fn wait_at_most(&mut self) -> Option<Duration> {
        self.limit
    }
}

fn report(source: Option<OwnedFd>, limit: Option<Duration>) -> (Worker<Report>, Receiver<usize>) {
    let (rounds, seen) = channel();
    let service = Report {
        rounds,
        source,
        limit,
    };
    (Worker::new("test", service), seen)
}

fn driver(size: u16) -> Driver {
    FakeGuest::new().driver(0, size)
}

#[test]
fn a_ring_is_served_in_batches_until_it_is_empty() {
    let mut driver = driver(256);
    for _ in 0..BATCH + 5 {
        driver.offer(&[Buffer::writable(0, 1)]);
    }
    let (mut worker, rounds) = report(None, None);
    worker.start(vec![None, Some(driver.ring())]).unwrap();
    assert_eq!(rounds.recv(), Ok(BATCH));
    assert_eq!(rounds.recv(), Ok(5));
    driver.offer(&[Buffer::writable(0, 1)]);
    driver.notify();
    assert_eq!(rounds.recv(), Ok(1));
    let positions = worker.stop();
    let expected = BATCH as u16 + 6;
    assert_eq!(
        positions,
        [
            None,
            Some(RingPosition {
                next_avail: expected,
                next_used: expected
            })
        ]
    );
    assert!(worker.stop().is_empty());
}

#[test]
fn a_source_of_the_host_causes_a_round() {
    let (reader, writer) = pipe().unwrap();
    let (mut worker, rounds) = report(Some(reader.into()), None);
    worker.start(vec![Some(driver(8).ring())]).unwrap();
    assert_eq!(rounds.recv(), Ok(0));
    rustix::io::write(&writer, b"x").unwrap();
    assert_eq!(rounds.recv(), Ok(0));
}

#[test]
fn a_regular_file_is_a_source_that_never_waits() {
    let file = tempfile::tempfile().unwrap();
    let (mut worker, rounds) = report(Some(file.into()), None);
    worker.start(vec![Some(driver(8).ring())]).unwrap();
    assert_eq!(rounds.recv(), Ok(0));
}

#[test]
fn a_limited_wait_ends_in_another_round() {
    let (mut worker, rounds) = report(None, Some(Duration::from_millis(1)));
    worker.start(vec![Some(driver(8).ring())]).unwrap();
    for _ in 0..3 {
        assert_eq!(rounds.recv(), Ok(0));
    }
}

#[test]
fn a_guest_that_offers_without_end_does_not_stop_the_stop() {
    let mut driver = driver(8);
    let (mut worker, rounds) = report(None, None);
    let ring = driver.ring();
    // Every entry is a chain that goes on in itself: it is given back at once, and offered again.
    for index in 0..8 {
        driver.describe(index, 0, 1, crate::testing::NEXT, index);
    }
    worker.start(vec![Some(ring)]).unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let liar = thread::spawn({
        let ended = Arc::clone(&ended);
        move || {
            while !ended.load(Ordering::Relaxed) {
                driver.set_available(driver.offered().wrapping_add(1));
                driver.notify();
                while driver.used().is_none() && !ended.load(Ordering::Relaxed) {}
            }
        }
    });
    for _ in 0..100 {
        assert_eq!(rounds.recv(), Ok(0));
    }
    assert!(worker.stop()[0].is_some());
    ended.store(true, Ordering::Relaxed);
    liar.join().unwrap();
}

#[test]
fn a_ring_that_its_driver_broke_goes_out_of_service_alone() {
    let (mut guest, (mut worker, rounds)) = (FakeGuest::new(), report(None, None));
    let (mut broken, mut sound) = (guest.driver(0, 8), guest.driver(1, 8));
    broken.publish(8);
    worker
        .start(vec![Some(broken.ring()), Some(sound.ring())])
        .unwrap();
    assert_eq!(rounds.recv(), Ok(0));
    sound.offer(&[Buffer::writable(0, 1)]);
    sound.notify();
    assert_eq!(rounds.recv(), Ok(1));
    let positions = worker.stop();
    assert!(positions[0].is_none() && positions[1].is_some());
}

#[test]
fn a_panic_is_no_end_of_the_process_and_no_second_start() {
    struct Panics;
    impl Service for Panics {
        fn serve(&mut self, _ring: &mut Ring) -> Result<bool, RingError> {
            panic!("as the test wants it")
        }
    }
    let mut worker = Worker::new("test", Panics);
    let driver = driver(8);
    worker.start(vec![Some(driver.ring())]).unwrap();
    assert!(worker.stop().is_empty());
    assert!(matches!(
        worker.start(vec![Some(driver.ring())]),
        Err(ActivateError::WorkerGone { device: "test" })
    ));
}

#[test]
fn a_source_is_watched_for_writing_only_while_the_service_waits_to_write() {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    /// Fills the socket when it is told to, and says when it is called and whether the socket was full before.
    struct Fills {
        socket: UnixStream,
        full: bool,
        rounds: Sender<bool>,
    }
    impl Service for Fills {
        fn serve(&mut self, ring: &mut Ring) -> Result<bool, RingError> {
            let (chains, more) = take_batch(ring)?;
            let was_full = std::mem::take(&mut self.full);
            for chain in chains {
                while rustix::io::write(&self.socket, &[0; 4096]).is_ok() {}
                self.full = true;
                ring.push(chain, 0)?;
            }
            self.rounds.send(was_full).unwrap();
            Ok(more)
        }
        fn sources(&self) -> Vec<BorrowedFd<'_>> {
            vec![self.socket.as_fd()]
        }
        fn waits_to_write(&self) -> bool {
            self.full
        }
    }

    let mut driver = driver(8);
    let (socket, mut peer) = UnixStream::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    peer.set_nonblocking(true).unwrap();
    let (sender, rounds) = channel();
    let fills = Fills {
        socket,
        full: false,
        rounds: sender,
    };
    let mut worker = Worker::new("test", fills);
    worker.start(vec![Some(driver.ring())]).unwrap();
    assert_eq!(rounds.recv(), Ok(false));
    driver.offer(&[Buffer::readable(0, 1)]);
    driver.notify();
    assert_eq!(rounds.recv(), Ok(false));
    let mut piece = [0; 4096];
    while peer.read(&mut piece).is_ok() {}
    assert_eq!(rounds.recv(), Ok(true), "it became writable");
    worker.stop();
    assert!(rounds.try_recv().is_err(), "reading it made no other round");
}
