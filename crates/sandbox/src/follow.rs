//! Reading a sandbox's log, also while it grows.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::event::{PollFd, PollFlags};
use rustix::fs::inotify;
use rustix::process::{Pid, PidfdFlags};

use crate::log::{Reader, Record, old};
use crate::sandbox::Sandbox;
use crate::state::State;
use crate::store::{Error, io_error};

/// Which records are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct LogOptions {
    /// Only so many of the last lines that are there.
    pub tail: Option<usize>,
    /// Go on until the sandbox ends.
    pub follow: bool,
}

impl Sandbox {
    /// Hands every wanted record of the log to `take`, oldest first. `take` ends the reading by an error, which comes back.
    ///
    /// # Errors
    /// [`Error::Io`] when the log cannot be read or `take` failed.
    pub fn logs(
        &self,
        options: LogOptions,
        take: &mut dyn FnMut(&Record) -> io::Result<()>,
    ) -> Result<(), Error> {
        let path = self.file("output.log");
        self.read_log(&path, options, take).map_err(io_error(path))
    }

    fn read_log(
        &self,
        path: &Path,
        options: LogOptions,
        take: &mut dyn FnMut(&Record) -> io::Result<()>,
    ) -> io::Result<()> {
        // Watch before reading, so that nothing is written between the two unseen.
        let growth = options.follow.then(|| Growth::watch(self)).transpose()?;
        let mut records = Vec::new();
        for path in [old(path), path.to_owned()] {
            let Some(mut reader) = open(&path)? else {
                continue;
            };
            while let Some(record) = reader.next()? {
                records.push(record);
            }
        }
        let skipped = options
            .tail
            .map_or(0, |lines| first_of_last(&records, lines));
        records[skipped..].iter().try_for_each(&mut *take)?;
        match growth {
            Some(growth) => self.follow(path, growth, take),
            None => Ok(()),
        }
    }

    fn follow(
        &self,
        path: &Path,
        growth: Growth,
        take: &mut dyn FnMut(&Record) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut reader = open(path)?;
        if let Some(reader) = &mut reader {
            while reader.next()?.is_some() {}
        }
        loop {
            let running = self.state().is_active();
            if let Some(reader) = &mut reader {
                while let Some(record) = reader.next()? {
                    take(&record)?;
                }
            }
            let current = fs::metadata(path).ok().map(|file| file.ino());
            let read = reader
                .as_ref()
                .map(|reader| reader.file().metadata())
                .transpose()?
                .map(|file| file.ino());
            if current.is_some() && current != read {
                reader = open(path)?;
                continue;
            }
            if !running {
                return Ok(());
            }
            growth.wait()?;
        }
    }
}

/// Wakes when something changes in a sandbox's folder, or its monitor ends.
struct Growth {
    events: OwnedFd,
    monitor: Option<OwnedFd>,
}

impl Growth {
    fn watch(sandbox: &Sandbox) -> io::Result<Self> {
        use inotify::{CreateFlags, WatchFlags};
        let events = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        inotify::add_watch(
            &events,
            sandbox.folder(),
            WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO,
        )?;
        let pid = match sandbox.state() {
            State::Starting { monitor } | State::Running { monitor, .. } => Pid::from_raw(monitor),
            _ => None,
        };
        let monitor =
            pid.and_then(|pid| rustix::process::pidfd_open(pid, PidfdFlags::empty()).ok());
        Ok(Self { events, monitor })
    }

    fn wait(&self) -> io::Result<()> {
        let mut watched = vec![PollFd::new(&self.events, PollFlags::IN)];
        watched.extend(
            self.monitor
                .as_ref()
                .map(|monitor| PollFd::new(monitor, PollFlags::IN)),
        );
        while let Err(rustix::io::Errno::INTR) = rustix::event::poll(&mut watched, None) {}
        let mut events = [0; 4096];
        while rustix::io::read(&self.events, &mut events).is_ok() {}
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<Option<Reader>> {
    match Reader::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// The index of the first record that belongs to the last `lines` lines.
fn first_of_last(records: &[Record], lines: usize) -> usize {
    let mut left = lines;
    for (index, record) in records.iter().enumerate().rev() {
        let ends_line = record.bytes.ends_with(b"\n") || index + 1 == records.len();
        if ends_line && left == 0 {
            return index + 1;
        }
        left -= usize::from(ends_line);
    }
    0
}
