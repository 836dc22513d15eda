//! A thread that takes requests from a stream and serves them.

use std::os::fd::BorrowedFd;
use std::sync::{Arc, PoisonError, mpsc};
use std::thread::JoinHandle;

use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::StreamError;
use super::buffers::{Buffers, Lent};
use super::messages::Message;
use super::outgoing::Outgoing;
use super::service::{ServeError, Stream};
use crate::passthrough::Worker;
use crate::server::{Body, Bytes, HandleError, Incoming, Later, Reply};
use crate::wire::OutHeader;

/// A thread's stack in bytes: operations are shallow; listing a directory needs 16 KiB.
const STACK: usize = 64 * 1024;
/// What a thread has for a request and for a reply, in bytes: a page of data and more than any arguments but the values of
/// attributes. Longer ones need a buffer that is lent.
const SMALL: usize = 6 * 1024;

/// Starts a thread, and waits until it is ready to serve.
pub fn start(stream: &Arc<Stream>) -> Result<JoinHandle<()>, ServeError> {
    let stream = Arc::clone(stream);
    let (ready, started) = mpsc::channel();
    let thread = std::thread::Builder::new()
        .name("fuse-stream".to_owned())
        .stack_size(STACK)
        .spawn(move || match stream.server.directory().worker() {
            Ok(mut worker) => {
                drop(ready.send(Ok(())));
                if let Err(error) = serve(&stream, &mut worker) {
                    tracing::warn!(%error, "a client's stream ended");
                }
                // For the other threads and the client, too.
                stream.end();
            }
            Err(error) => drop(ready.send(Err(error))),
        })
        .map_err(ServeError::Thread)?;
    match started.recv() {
        Ok(Ok(())) => Ok(thread),
        Ok(Err(error)) => Err(error.into()),
        Err(gone) => Err(ServeError::Thread(std::io::Error::other(gone))),
    }
}

fn serve(stream: &Stream, worker: &mut Worker) -> Result<(), StreamError> {
    let mut small = vec![0; SMALL].into_boxed_slice();
    let mut reply = StreamReply {
        outgoing: &stream.outgoing,
        large: None,
        small: vec![0; SMALL].into_boxed_slice(),
        lent: None,
    };
    while let Some(request) = next(stream, &mut small)? {
        let message = match &request {
            Request::Small(len) => &small[..*len],
            Request::Long(lent, len) => &lent.bytes[..*len],
        };
        // Whoever has one of them and waited for another could wait for ever.
        reply.large = matches!(request, Request::Small(_)).then_some(&*stream.large);
        let (head, data) = Bytes::split(message);
        let incoming = Incoming {
            head,
            payload: &data,
            arrived: stream.server.arrival(),
        };
        match stream.server.handle(worker, &incoming, &mut reply) {
            Ok(()) => {}
            Err(HandleError::Send(error)) => return Err(error.into()),
            Err(error @ HandleError::NoHeader(_)) => tracing::warn!(%error, "no request"),
        }
        reply.lent = None;
    }
    Ok(())
}

/// A request's bytes.
enum Request<'a> {
    Small(usize),
    Long(Lent<'a>, usize),
}

/// Takes the next request out of the stream, for which one thread waits at a time.
fn next<'a>(stream: &'a Stream, small: &mut [u8]) -> Result<Option<Request<'a>>, StreamError> {
    let mut messages = stream
        .messages
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(match messages.next(&stream.large)? {
        Some(Message::Here(message)) if message.len() <= small.len() => {
            small[..message.len()].copy_from_slice(message);
            Some(Request::Small(message.len()))
        }
        Some(Message::Here(message)) => {
            let mut lent = stream.large.lend();
            lent.bytes[..message.len()].copy_from_slice(message);
            Some(Request::Long(lent, message.len()))
        }
        Some(Message::Long(lent, len)) => Some(Request::Long(lent, len)),
        None => None,
    })
}

struct StreamReply<'a> {
    outgoing: &'a Arc<Outgoing>,
    /// Where long data can be put.
    large: Option<&'a Buffers>,
    small: Box<[u8]>,
    /// Where long data are.
    lent: Option<Lent<'a>>,
}

impl Reply for StreamReply<'_> {
    fn fill(&mut self, file: BorrowedFd<'_>, offset: u64, count: usize) -> Result<usize, Errno> {
        let room = if count <= SMALL {
            &mut self.small
        } else {
            let large = self.large.ok_or(Errno::NOMEM)?;
            &mut self.lent.get_or_insert_with(|| large.lend()).bytes
        };
        rustix::io::pread(file, &mut room[..count], offset)
    }

    fn send(&mut self, unique: u64, body: Body<'_>) -> Result<(), Errno> {
        let (result, bytes) = match body {
            Body::Error(error) => (Err(error), &[][..]),
            Body::Bytes(bytes) => (Ok(()), bytes),
            Body::Filled(len) => {
                let room = self.lent.as_ref().map_or(&self.small, |lent| &lent.bytes);
                (Ok(()), &room[..len])
            }
        };
        let header = OutHeader::new(unique, result, bytes.len());
        self.outgoing.send(header.as_bytes(), bytes)
    }

    fn later(&mut self) -> Option<Box<dyn Later>> {
        Some(Box::new(StreamLater(Arc::clone(self.outgoing))))
    }
}

struct StreamLater(Arc<Outgoing>);

impl Later for StreamLater {
    fn send(self: Box<Self>, unique: u64, result: Result<(), Errno>) {
        let header = OutHeader::new(unique, result, 0);
        // A client that is gone does not care.
        let _ = self.0.send(header.as_bytes(), &[]);
    }
}
