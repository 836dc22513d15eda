//! Several queues, batches, and how often the guest is interrupted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::*;

/// Interrupts since the last call.
fn interrupts(running: &Running) -> u64 {
    let line = running.driver.queues[0].interrupt();
    let mut count = [0; 8];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut fds = [PollFd::new(&line, PollFlags::IN)];
    if poll(&mut fds, Some(&now)).unwrap() == 0 {
        return 0;
    }
    rustix::io::read(&line, &mut count).unwrap();
    u64::from_ne_bytes(count)
}

#[test]
fn each_queue_is_served() {
    let mut running = Running::with(FakeDriver::new(4), |_| {});
    let page = running.driver.page;
    for round in 0..50u64 {
        let slots: Vec<_> = (0..4)
            .map(|queue| {
                let to = Buffer::writable(page + queue * 4096, 512);
                let sector = (round * 4 + queue) % SECTORS;
                running.driver.offer_on(queue as usize, IN, sector, &[to])
            })
            .collect();
        running
            .driver
            .queues
            .iter()
            .for_each(|queue| queue.notify());
        for (queue, slot) in (0..).zip(slots) {
            let (head, written) = running.driver.queues[queue as usize].wait_used();
            assert_eq!((head, written), (slot.head, 513));
            let sector = (round * 4 + queue) % SECTORS;
            let bytes = running.driver.guest.read(page + queue * 4096, 512);
            assert_eq!(bytes, sector_of(pattern(sector)));
        }
    }
}

#[test]
fn a_batch_gives_one_interrupt() {
    // Everything is in the page cache: the driver has just written it.
    let mut driver = FakeDriver::new(1);
    let slots: Vec<_> = (0..32)
        .map(|i| {
            let to = Buffer::writable(driver.page + i * 4096, 4096);
            driver.offer(IN, i * 8, &[to])
        })
        .collect();
    let mut running = Running::with(driver, |_| {});
    let line = running.driver.queues[0].interrupt();
    poll(&mut [PollFd::new(&line, PollFlags::IN)], None).unwrap();
    running.device.pause();
    assert_eq!(interrupts(&running), 1);
    for slot in slots {
        assert_eq!(running.driver.queues[0].used(), Some((slot.head, 4097)));
    }
}

#[test]
fn large_requests_are_announced_before_the_batch_ends() {
    let mut driver = FakeDriver::new(1);
    let to = Buffer::writable(driver.page, (SECTORS * SECTOR) as u32);
    for _ in 0..64 {
        driver.offer(IN, 0, &[to]);
    }
    let mut device = Block::new(&driver.spec()).unwrap();
    let mut activation = driver.guest.activation(feature::RING, &[]);
    activation.rings = vec![Some(driver.queues[0].ring_without_event_idx())];
    device.activate(activation).unwrap();
    for _ in 0..64 {
        while driver.queues[0].used().is_none() {
            thread::yield_now();
        }
    }
    device.pause();
    let running = Running { device, driver };
    // 128 KiB each, announced every 4 MiB, and nothing is left for the end.
    assert_eq!(interrupts(&running), 2);
}

#[test]
fn writes_and_reads_at_depth_keep_their_bytes() {
    let mut running = Running::with(FakeDriver::new(2), |_| {});
    let page = running.driver.page;
    for round in 0..30u8 {
        for i in 0..32u64 {
            let at = page + i * 4096;
            running.driver.guest.write(at, &[round ^ i as u8; 4096]);
            let from = Buffer::readable(at, 4096);
            running.driver.offer(OUT, i * 8, &[from]);
            if i % 16 == 7 {
                running.driver.offer(FLUSH, 0, &[]);
            }
        }
        running.driver.queues[0].notify();
        for _ in 0..34 {
            assert_eq!(running.driver.queues[0].wait_used().1, 1);
        }
        for i in 0..32u64 {
            assert_eq!(running.driver.on_disk(i * 8, 4096), [round ^ i as u8; 4096]);
        }
    }
}

#[test]
fn a_driver_that_never_stops_does_not_keep_the_device_from_pausing() {
    let Running {
        mut device,
        mut driver,
    } = Running::new();
    let page = driver.page;
    let paused = AtomicBool::new(false);
    let (send, busy) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            let mut under_way = 0;
            let mut answers = 0;
            while !paused.load(Ordering::Relaxed) {
                while under_way < 32 {
                    driver.offer(IN, 8 * under_way, &[Buffer::writable(page, 4096)]);
                    under_way += 1;
                }
                driver.queues[0].notify();
                while driver.queues[0].used().is_some() {
                    under_way -= 1;
                    answers += 1;
                }
                if answers > 100 {
                    let _ = send.send(());
                }
            }
        });
        busy.recv().unwrap();
        assert!(device.pause()[0].is_some());
        paused.store(true, Ordering::Relaxed);
    });
}

/// Lets `io_uring_setup` fail in this thread and those that it starts, as a container's filter does.
fn refuse_io_uring() {
    let statement = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let (load, jump, answer) = (
        (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
        (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        (libc::BPF_RET | libc::BPF_K) as u16,
    );
    // The number of the call is the first word of `struct seccomp_data`.
    let mut program = [
        statement(load, 0, 0, 0),
        statement(jump, 0, 1, libc::SYS_io_uring_setup as u32),
        statement(answer, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        statement(answer, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    rustix::thread::set_no_new_privs(true).unwrap();
    // SAFETY: `filter` points at `program`, which outlives the call; the kernel copies it.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const filter,
        )
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn without_io_uring_everything_is_served() {
    thread::spawn(|| {
        refuse_io_uring();
        assert!(crate::block::uring::Uring::new().is_err());
        let mut running = Running::new();
        let file = running.driver.file();
        file.sync_all().unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let page = running.driver.page;
        let slots: Vec<_> = (0..16)
            .map(|i| {
                let to = Buffer::writable(page + i * 512, 512);
                running.driver.offer(IN, 200 - i, &[to])
            })
            .collect();
        running.driver.queues[0].notify();
        for (i, slot) in (0..).zip(slots) {
            // One after the other, so that they come back in order.
            assert_eq!(running.driver.queues[0].wait_used(), (slot.head, 513));
            let bytes = running.driver.guest.read(page + i * 512, 512);
            assert_eq!(bytes, sector_of(pattern(200 - i)));
        }
        assert_eq!(running.driver.ask(FLUSH, 0, &[]), (OK, 1));
    })
    .join()
    .unwrap();
}
