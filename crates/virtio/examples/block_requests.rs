//! Serves block requests of a fake guest, to count what one costs: system calls (run it under `strace -f -c`),
//! interrupts, and time beside the same calls on the file itself.
//!
//! `block_requests FILE read|write|randread|randwrite BYTES DEPTH REQUESTS [cold]`

use std::env;
use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cenote_virtio::block::{Block, BlockSpec};
use cenote_virtio::device::Device;
use cenote_virtio::testing::{Buffer, Driver, FakeGuest};
use rustix::event::{PollFd, PollFlags, poll};

const IN: u32 = 0;
const OUT: u32 = 1;

struct Load {
    path: PathBuf,
    file: File,
    writes: bool,
    random: bool,
    bytes: u64,
    depth: u64,
    requests: u64,
    cold: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = env::args().skip(1).collect();
    let [path, pattern, bytes, depth, requests, rest @ ..] = &args[..] else {
        return Err("FILE PATTERN BYTES DEPTH REQUESTS".into());
    };
    let load = Load {
        path: path.into(),
        file: File::options().read(true).write(true).open(path)?,
        writes: pattern.ends_with("write"),
        random: pattern.starts_with("rand"),
        bytes: bytes.parse()?,
        depth: depth.parse()?,
        requests: requests.parse()?,
        cold: rest.first().is_some_and(|word| word == "cold"),
    };
    load.prepare()?;
    let floor = load.floor()?;
    load.prepare()?;
    let (device, interrupts) = load.device()?;
    let per_request = |time: Duration| time.as_nanos() as f64 / load.requests as f64 / 1000.0;
    println!(
        "{pattern} {bytes} depth {depth}: {:.2} us a request, {:.2} us by the file itself, {:.3} interrupts",
        per_request(device),
        per_request(floor),
        interrupts as f64 / load.requests as f64
    );
    Ok(())
}

impl Load {
    fn prepare(&self) -> Result<(), Box<dyn Error>> {
        if self.cold {
            self.file.sync_all()?;
            rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed)?;
        }
        Ok(())
    }

    fn offsets(&self) -> Result<impl Iterator<Item = u64> + use<>, Box<dyn Error>> {
        let blocks = self.file.metadata()?.len() / self.bytes;
        let (random, bytes) = (self.random, self.bytes);
        let mut state = 1u64;
        Ok((0..self.requests).map(move |i| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (if random { state >> 33 } else { i }) % blocks * bytes
        }))
    }

    fn floor(&self) -> Result<Duration, Box<dyn Error>> {
        let mut buffer = vec![0x55; self.bytes as usize];
        let begin = Instant::now();
        for offset in self.offsets()? {
            if self.writes {
                self.file.write_all_at(&buffer, offset)?;
            } else {
                self.file.read_exact_at(&mut buffer, offset)?;
            }
        }
        Ok(begin.elapsed())
    }

    fn device(&self) -> Result<(Duration, u64), Box<dyn Error>> {
        let mut guest = FakeGuest::new();
        let mut driver = guest.driver(0, 256);
        let headers = guest.allocate(16 * self.depth);
        let statuses = guest.allocate(self.depth);
        // The data of all requests may overlap: nobody looks at it.
        let data = guest.allocate(self.bytes);
        let mut device = Block::new(&BlockSpec {
            path: self.path.clone(),
            read_only: false,
            ephemeral: false,
            queues: 1,
            id: String::new(),
        })?;
        device.activate(guest.activation(device.features(), &[Some(&driver)]))?;
        let mut offsets = self.offsets()?.enumerate();
        let mut offer = |driver: &mut Driver| {
            let Some((i, offset)) = offsets.next() else {
                return false;
            };
            let slot = i as u64 % self.depth;
            let mut header = [0; 16];
            header[0] = if self.writes { OUT } else { IN } as u8;
            header[8..].copy_from_slice(&(offset / 512).to_le_bytes());
            guest.write(headers + 16 * slot, &header);
            let bytes = self.bytes as u32;
            let data = if self.writes {
                Buffer::readable(data, bytes)
            } else {
                Buffer::writable(data, bytes)
            };
            driver.offer(&[
                Buffer::readable(headers + 16 * slot, 16),
                data,
                Buffer::writable(statuses + slot, 1),
            ]);
            true
        };
        let line = driver.interrupt();
        let (mut interrupts, mut done) = (0, 0);
        let begin = Instant::now();
        for _ in 0..self.depth {
            offer(&mut driver);
        }
        driver.notify();
        while done < self.requests {
            poll(&mut [PollFd::new(&line, PollFlags::IN)], None)?;
            let mut count = [0; 8];
            rustix::io::read(&line, &mut count)?;
            interrupts += u64::from_ne_bytes(count);
            let mut back = 0;
            while driver.used().is_some() {
                back += 1;
            }
            done += back;
            let mut more = false;
            for _ in 0..back {
                more |= offer(&mut driver);
            }
            if more {
                driver.notify();
            }
        }
        let time = begin.elapsed();
        device.pause();
        Ok((time, interrupts))
    }
}
