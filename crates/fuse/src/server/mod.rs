//! Joins the protocol and the directory: takes a request, has it carried out, and sends the reply.

mod answer;
mod dispatch;
mod init;
mod observer;
mod only;
mod transport;

use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;
use thiserror::Error;

use crate::host_time;
use crate::passthrough::{Caller, Passthrough, Worker};
use crate::wire::{BadRequest, Opcode, Request};

pub use observer::{Observer, Served};
pub use transport::{Body, Bytes, Incoming, Later, NoData, Payload, Reply};

/// The most data in bytes that a request or a reply carries.
pub const DATA_LIMIT: usize = 1 << 20;

/// Why a request had no proper end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum HandleError {
    #[error("a message that cannot be answered: {0}")]
    NoHeader(BadRequest),
    #[error("a reply could not be sent: {0}")]
    Send(Errno),
}

/// Serves one mounted directory. Any number of threads may [`handle`](Server::handle) requests at once.
#[derive(Debug)]
pub struct Server {
    directory: Passthrough,
    observer: Option<Arc<dyn Observer>>,
}

impl Server {
    /// Serves `directory`.
    pub fn new(directory: Passthrough) -> Server {
        Server {
            directory,
            observer: None,
        }
    }

    /// Tells `observer` of requests.
    #[must_use]
    pub fn with_observer(mut self, observer: Arc<dyn Observer>) -> Server {
        self.observer = Some(observer);
        self
    }

    /// The directory.
    pub fn directory(&self) -> &Passthrough {
        &self.directory
    }

    /// The client is gone without a word: closes and forgets everything that it knew. It may begin anew.
    pub fn client_gone(&self) {
        self.directory.reset();
    }

    /// When a request arrives, if anybody wants to know.
    pub fn arrival(&self) -> Option<Instant> {
        self.observer.as_ref().map(|_| Instant::now())
    }

    /// Carries out one request and sends its reply, if it has one.
    ///
    /// A reply that cannot be sent takes back what the client would have learned from it.
    pub fn handle(
        &self,
        worker: &mut Worker,
        incoming: &Incoming<'_>,
        reply: &mut dyn Reply,
    ) -> Result<(), HandleError> {
        let header = Request::header(incoming.head).map_err(HandleError::NoHeader)?;
        let begun = self.arrival();
        if self
            .observer
            .as_ref()
            .is_some_and(|observer| observer.traces(header.unique))
        {
            host_time::begin();
        }
        let result = match Request::parse(incoming.head, incoming.payload.len()) {
            Ok(request) => {
                let mut caller = Caller { worker, header };
                self.carry_out(&mut caller, &request.operation, incoming.payload, reply)
            }
            Err(bad) => {
                if !matches!(bad, BadRequest::Opcode(_)) {
                    tracing::debug!(opcode = header.opcode, %bad, "a request breaks the protocol");
                }
                Err(bad.errno())
            }
        };
        let error = result.as_ref().err().copied();
        let opcode = Opcode::from_number(header.opcode);
        let bytes = result.as_ref().map_or(0, |answer| answer.moved(opcode));
        let sent = self.answer(worker, header.unique, result, reply);
        if let (Some(observer), Some(begun)) = (&self.observer, begun) {
            observer.served(&Served {
                opcode,
                unique: header.unique,
                node: header.node,
                uid: header.uid,
                pid: header.pid,
                error,
                bytes,
                arrived: incoming.arrived.unwrap_or(begun),
                begun,
                file_system: host_time::end(),
                done: Instant::now(),
            });
        }
        sent.map_err(HandleError::Send)
    }
}
