//! Many workers with many small files, on the host and in guests.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Barrier;
use std::time::Instant;

use anyhow::Context;
use clap::Args;

/// Bytes of each file.
pub const SIZE: usize = 4096;

/// So many workers share so many files, each of which is done by one of them.
#[derive(Debug, Clone, Copy, Args)]
pub struct SmallFiles {
    /// How many threads work at once
    #[arg(long, default_value_t = 256)]
    pub workers: usize,
    /// How many files they share
    #[arg(long, default_value_t = 1024)]
    pub files: usize,
}

impl SmallFiles {
    /// What is measured, for a report's conditions.
    pub fn condition(self) -> String {
        let Self { workers, files } = self;
        format!("{files} of {SIZE} bytes, {workers} workers; write is open, write, fsync, close")
    }

    /// Writes all files in `place`: open, write, fsync, close. Answers the seconds that it took.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn write(self, place: &Path) -> anyhow::Result<f64> {
        self.timed(|number| {
            let mut file = File::create(place.join(number.to_string()))?;
            file.write_all(&[number as u8; SIZE])?;
            file.sync_all()
        })
    }

    /// Reads all files in `place`, which [`write`](Self::write) has written. Answers the seconds that it took.
    ///
    /// # Errors
    /// When a file cannot be read or has changed.
    pub fn read(self, place: &Path) -> anyhow::Result<f64> {
        self.timed(|number| {
            let mut data = [0; SIZE];
            File::open(place.join(number.to_string()))?.read_exact(&mut data)?;
            if data.iter().all(|byte| *byte == number as u8) {
                Ok(())
            } else {
                Err(io::Error::other(format!("file {number} has changed")))
            }
        })
    }

    /// Removes all files in `place`.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub fn remove(self, place: &Path) -> io::Result<()> {
        (0..self.files).try_for_each(|number| fs::remove_file(place.join(number.to_string())))
    }

    /// Lets the workers do something to every file, and answers the seconds from when the first begins until the last is done.
    fn timed(self, work: impl Fn(usize) -> io::Result<()> + Sync) -> anyhow::Result<f64> {
        let begin = Barrier::new(self.workers);
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..self.workers)
                .map(|worker| {
                    let (begin, work) = (&begin, &work);
                    scope.spawn(move || {
                        begin.wait();
                        let begun = Instant::now();
                        (worker..self.files)
                            .step_by(self.workers)
                            .try_for_each(work)
                            .map(|()| (begun, Instant::now()))
                    })
                })
                .collect();
            let times: Vec<_> = workers
                .into_iter()
                .map(|worker| worker.join().expect("a worker"))
                .collect::<Result<_, _>>()?;
            let begun = times.iter().map(|(begun, _)| *begun).min();
            let ended = times.iter().map(|(_, ended)| *ended).max();
            let (begun, ended) = begun.zip(ended).context("no workers")?;
            Ok((ended - begun).as_secs_f64())
        })
    }
}
