//! Tells the host when requests on shares are sent and answered: the kernel's own events (`events/fuse`), read through an
//! instance of tracefs that exists as long as the host's connection does.

mod events;
mod instance;
mod mounts;

use std::io::{ErrorKind, Read};
use std::os::fd::AsFd;

use cenote_protocol::{
    ClockProbe, ClockReading, FrameError, FrameReader, Kind, TraceEvents, TraceRequest, Tracing,
    is_traced, write_message,
};
use rustix::event::{PollFd, PollFlags, poll};

use crate::connection::Connection;
use crate::container::Container;
use crate::launch::refused;
use crate::machine::monotonic_ns;
use events::Events;
use instance::Instance;

/// The kernel hands out a page of text at a time; so much is read at once.
const CHUNK: usize = 64 << 10;

/// Serves a trace connection to its end.
///
/// # Errors
/// When the connection breaks.
pub fn serve(
    request: TraceRequest,
    mut host: FrameReader<Connection>,
    container: &Container,
) -> Result<(), FrameError> {
    let mut answer = host.get_ref().clone();
    let rate = request.rate.max(1);
    let instance = match Instance::make(rate) {
        Ok(instance) => instance,
        Err(error) => {
            let message = format!("this guest kernel cannot trace requests on shares: {error}");
            return write_message(
                &mut answer,
                &refused(cenote_protocol::Refusal::System, message),
            );
        }
    };
    let mounts = match container.first_process() {
        Ok(process) => mounts::of(&process),
        Err(refused) => return write_message(&mut answer, &refused),
    };
    write_message(&mut answer, &Tracing { mounts })?;
    let mut events = Events::default();
    let mut buffer = vec![0; CHUNK];
    loop {
        let mut watched = [
            PollFd::new(host.get_ref(), PollFlags::IN),
            PollFd::from_borrowed_fd(instance.pipe().as_fd(), PollFlags::IN),
        ];
        match poll(&mut watched, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(errno) => return Err(std::io::Error::from(errno).into()),
            Ok(_) => {}
        }
        let asked = !watched[0].revents().is_empty();
        if asked && !tell_time(&mut host, &mut answer)? {
            return Ok(());
        }
        match instance.pipe().read(&mut buffer) {
            Ok(count) => {
                let TraceEvents { events, lost } = events.parse(&buffer[..count]);
                let events: Vec<_> = events
                    .into_iter()
                    .filter(|event| is_traced(event.unique, rate))
                    .collect();
                if !events.is_empty() || lost > 0 {
                    write_message(&mut answer, &TraceEvents { events, lost })?;
                }
            }
            Err(error)
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Answers the host's question; `false` when it has none any more.
fn tell_time(
    host: &mut FrameReader<Connection>,
    answer: &mut Connection,
) -> Result<bool, FrameError> {
    let received_ns = monotonic_ns();
    let Some(frame) = host.next_frame()? else {
        return Ok(false);
    };
    if frame.kind != Kind::ClockProbe {
        return Err(FrameError::Unexpected {
            got: frame.kind,
            wanted: "ClockProbe",
        });
    }
    let number = frame.message::<ClockProbe>()?.number;
    let reading = ClockReading {
        number,
        received_ns,
        sent_ns: monotonic_ns(),
    };
    write_message(answer, &reading)?;
    Ok(true)
}
