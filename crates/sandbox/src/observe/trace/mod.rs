//! Follows requests on a sandbox's shares from the guest's kernel to the host's file system and back.
//!
//! The monitor tells of the requests that it serves, the agent of those that the guest's kernel sends and gets answered; who traces
//! puts the two together by the request's number. Two clocks are involved: spans within one side are exact, and only what is
//! between the sides is divided by an estimate ([`clock`]), so that parts never are negative and always make up the whole.

mod clock;
mod guest;
mod join;

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use cenote_protocol::{TraceEvents, TracedMount};

use super::tap::{Head, Line, Watched, monotonic_ns};
use crate::control::Request;
use crate::sandbox::{Error, Sandbox};
use clock::Clock;
use guest::{Guest, Listener, Said};
use join::Join;

pub use join::{GuestHalf, HostHalf, TracedRequest, Ways};

/// How often the guest is asked for the time: clocks drift.
const ASK: Duration = Duration::from_millis(50);
/// Reports that wait to be put together; the sides wait for room.
const BACKLOG: usize = 1024;
/// The longest line of a monitor, in bytes: the first one has the shares' places.
const LONGEST: u64 = 1 << 20;

/// Why there is no trace.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] Error),
    /// It has no share there.
    #[error("sandbox {name} has no share at {target}; it has {}", list(.targets))]
    NoShare {
        /// The sandbox.
        name: String,
        /// What was asked for.
        target: String,
        /// Where it has shares.
        targets: Vec<String>,
    },
    /// The monitor's end is gone in the middle, or what it says has no meaning.
    #[error("cannot follow the monitor of the sandbox: {0}")]
    Monitor(io::Error),
    /// What is told cannot be shown.
    #[error("cannot show the trace: {0}")]
    Show(io::Error),
}

fn list(targets: &[String]) -> String {
    match targets {
        [] => "none".to_owned(),
        _ => targets.join(", "),
    }
}

/// What a trace tells.
#[derive(Debug)]
pub enum Told<'a> {
    /// First: the shares by their numbers, and how far the guest's clock may be from what is believed; or why the guest tells nothing.
    Begun {
        /// Where the container has them.
        targets: &'a [String],
        /// How good the estimate of the guest's clock is.
        clock: Result<Duration, String>,
    },
    /// A request.
    Request(TracedRequest),
    /// So many more came too fast to be told of.
    Lost(u64),
}

/// What comes in, from either side.
enum News {
    Monitor(Line),
    Guest(Said),
    /// The monitor has ended, and the sandbox with it.
    Over(io::Result<()>),
}

impl Sandbox {
    /// Tells `show` of one in `rate` requests on its shares, or on the one at `target`, until the sandbox ends or `show` fails.
    ///
    /// # Errors
    /// See [`TraceError`]; a guest that cannot trace is none.
    pub fn trace(
        &self,
        rate: u32,
        target: Option<&str>,
        show: &mut dyn FnMut(Told<'_>) -> io::Result<()>,
    ) -> Result<(), TraceError> {
        self.check_running()?;
        let mut monitor = BufReader::new(self.ask(Request::Trace(rate))?);
        let Head { shares } = read(&mut monitor)
            .and_then(|head| head.ok_or_else(|| io::ErrorKind::UnexpectedEof.into()))
            .map_err(TraceError::Monitor)?;
        let targets: Vec<_> = shares.iter().map(|share| share.target.clone()).collect();
        let only = match target {
            None => None,
            Some(wanted) => match targets.iter().position(|target| target == wanted) {
                Some(share) => Some(share),
                None => {
                    return Err(TraceError::NoShare {
                        name: self.spec().name.clone(),
                        target: wanted.to_owned(),
                        targets,
                    });
                }
            },
        };
        let (tell, news) = sync_channel(BACKLOG);
        let mut clock = Clock::default();
        let guest = Guest::trace(&self.vsock(), rate, &mut clock);
        let known = match &guest {
            Ok(_) => Ok(Duration::from_nanos(
                clock
                    .at(monotonic_ns())
                    .map_or(0, |estimate| estimate.bound),
            )),
            Err(error) => Err(error.to_string()),
        };
        show(Told::Begun {
            targets: &targets,
            clock: known,
        })
        .map_err(TraceError::Show)?;
        let mut trace = Trace {
            clock,
            guest: None,
            shares: HashMap::new(),
            join: Join::default(),
            only,
            show,
        };
        if let Ok((guest, listener, mounts)) = guest {
            trace.guest = Some(guest);
            trace.shares = numbers(&mounts, &shares);
            let tell = tell.clone();
            thread::spawn(move || listen(listener, &tell));
        }
        thread::spawn(move || follow(monitor, &tell));
        trace.run(&news)
    }
}

/// The number of the share that each of the guest's mounts is.
fn numbers(mounts: &[TracedMount], shares: &[Watched]) -> HashMap<u32, usize> {
    let number = |mount: &TracedMount| {
        shares
            .iter()
            .position(|share| mount.source == share.tag || mount.target == share.target)
    };
    let found = mounts
        .iter()
        .filter_map(|mount| Some((mount.connection, number(mount)?)));
    found.collect()
}

fn listen(mut guest: Listener, tell: &SyncSender<News>) {
    while let Ok(said) = guest.listen() {
        if tell.send(News::Guest(said)).is_err() {
            break;
        }
    }
}

fn follow(mut monitor: BufReader<UnixStream>, tell: &SyncSender<News>) {
    loop {
        let (news, over) = match read(&mut monitor) {
            Ok(Some(line)) => (News::Monitor(line), false),
            Ok(None) => (News::Over(Ok(())), true),
            Err(error) => (News::Over(Err(error)), true),
        };
        if tell.send(news).is_err() || over {
            break;
        }
    }
}

/// The monitor's next line; `None` at its end.
fn read<T: serde::de::DeserializeOwned>(monitor: &mut impl BufRead) -> io::Result<Option<T>> {
    let mut line = Vec::new();
    io::Read::take(&mut *monitor, LONGEST).read_until(b'\n', &mut line)?;
    if !line.ends_with(b"\n") {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&line)?))
}

struct Trace<'a> {
    clock: Clock,
    guest: Option<Guest>,
    /// By the number of the guest's mount.
    shares: HashMap<u32, usize>,
    join: Join,
    only: Option<usize>,
    show: &'a mut dyn FnMut(Told<'_>) -> io::Result<()>,
}

impl Trace<'_> {
    fn run(&mut self, news: &std::sync::mpsc::Receiver<News>) -> Result<(), TraceError> {
        let mut asked = Instant::now();
        loop {
            match news.recv_timeout(ASK.saturating_sub(asked.elapsed())) {
                Ok(News::Monitor(line)) => self.monitor(line)?,
                Ok(News::Guest(said)) => self.guest(said)?,
                Ok(News::Over(ended)) => return self.over(ended),
                Err(RecvTimeoutError::Disconnected) => return self.over(Ok(())),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if asked.elapsed() >= ASK {
                asked = Instant::now();
                // A guest that is gone is told of by the monitor.
                if let Some(Err(_)) = self.guest.as_mut().map(Guest::ask) {
                    self.guest = None;
                }
            }
            while let Some(request) = self.join.overdue(&self.clock, monotonic_ns()) {
                self.show(request)?;
            }
        }
    }

    fn monitor(&mut self, line: Line) -> Result<(), TraceError> {
        match line {
            Line::Served(served) if self.wants(served.share) => {
                match self.join.host(served, &self.clock, monotonic_ns()) {
                    Some(request) => self.show(request),
                    None => Ok(()),
                }
            }
            Line::Served(_) | Line::Quiet => Ok(()),
            Line::Lost(count) => self.tell(Told::Lost(count)),
        }
    }

    fn guest(&mut self, said: Said) -> Result<(), TraceError> {
        match said {
            Said::Time(reading, at) => {
                if let Some(guest) = &mut self.guest {
                    guest.answered(reading, at, &mut self.clock);
                }
                Ok(())
            }
            Said::Events(TraceEvents { events, lost }) => {
                for event in events {
                    let Some(share) = self.shares.get(&event.connection).copied() else {
                        continue;
                    };
                    if self.wants(share)
                        && let Some(request) =
                            self.join.guest(share, event, &self.clock, monotonic_ns())
                    {
                        self.show(request)?;
                    }
                }
                match lost {
                    0 => Ok(()),
                    count => self.tell(Told::Lost(count)),
                }
            }
        }
    }

    /// Tells of what is known in part only.
    fn over(&mut self, ended: io::Result<()>) -> Result<(), TraceError> {
        while let Some(request) = self.join.overdue(&self.clock, u64::MAX) {
            self.show(request)?;
        }
        ended.map_err(TraceError::Monitor)
    }

    fn wants(&self, share: usize) -> bool {
        self.only.is_none_or(|only| only == share)
    }

    fn show(&mut self, request: TracedRequest) -> Result<(), TraceError> {
        self.tell(Told::Request(request))
    }

    fn tell(&mut self, told: Told<'_>) -> Result<(), TraceError> {
        (self.show)(told).map_err(TraceError::Show)
    }
}
