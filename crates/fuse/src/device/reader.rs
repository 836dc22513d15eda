//! A thread that reads requests from `/dev/fuse` and answers them.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use rustix::io::Errno;
use zerocopy::IntoBytes;

use super::MountError;
use crate::passthrough::Worker;
use crate::server::{Body, Bytes, DATA_LIMIT, HandleError, Incoming, Later, Reply, Server};
use crate::wire::OutHeader;

/// A request's buffer in bytes: the kernel wants room for the most data and the arguments.
const REQUEST_LIMIT: usize = DATA_LIMIT + 4096;
/// A thread's stack: operations are shallow; listing a directory needs 16 KiB.
const STACK: usize = 256 * 1024;

/// What one thread has.
pub struct Reader {
    device: Arc<OwnedFd>,
    server: Arc<Server>,
}

impl Reader {
    /// Starts the thread, and waits until it is ready to serve.
    pub fn start(device: Arc<OwnedFd>, server: &Arc<Server>) -> Result<JoinHandle<()>, MountError> {
        let reader = Reader {
            device,
            server: Arc::clone(server),
        };
        let (ready, started) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("fuse".to_owned())
            .stack_size(STACK)
            .spawn(move || match reader.server.directory().worker() {
                Ok(worker) => {
                    drop(ready.send(Ok(())));
                    reader.serve(worker);
                }
                Err(error) => drop(ready.send(Err(error))),
            })
            .map_err(MountError::Thread)?;
        match started.recv() {
            Ok(Ok(())) => Ok(thread),
            Ok(Err(error)) => Err(error.into()),
            Err(gone) => Err(MountError::Thread(std::io::Error::other(gone))),
        }
    }

    fn serve(&self, mut worker: Worker) {
        let mut request = vec![0; REQUEST_LIMIT];
        let mut reply = DeviceReply {
            device: &self.device,
            buffer: Vec::new(),
        };
        loop {
            let len = match rustix::io::read(&*self.device, &mut request[..]) {
                // A socket that stands for the device has ended.
                Ok(0) => return,
                Ok(len) => len,
                // The request was taken back before it was read.
                Err(Errno::NOENT | Errno::INTR | Errno::AGAIN) => continue,
                // Unmounted.
                Err(Errno::NODEV | Errno::CONNABORTED) => return,
                Err(error) => {
                    tracing::error!(%error, "cannot read from /dev/fuse");
                    return;
                }
            };
            self.one(&mut worker, &request[..len], &mut reply);
        }
    }

    fn one(&self, worker: &mut Worker, message: &[u8], reply: &mut DeviceReply<'_>) {
        let (head, data) = Bytes::split(message);
        let incoming = Incoming {
            head,
            payload: &data,
            arrived: self.server.arrival(),
        };
        match self.server.handle(worker, &incoming, reply) {
            // ENOENT: the client has given the request up.
            Ok(()) | Err(HandleError::Send(Errno::NOENT)) => {}
            Err(error) => tracing::warn!(%error, "a request got no reply"),
        }
    }
}

struct DeviceReply<'a> {
    device: &'a Arc<OwnedFd>,
    /// A reply with data: the header's room, and the data.
    buffer: Vec<u8>,
}

const HEADER: usize = size_of::<OutHeader>();

impl Reply for DeviceReply<'_> {
    fn fill(&mut self, file: BorrowedFd<'_>, offset: u64, count: usize) -> Result<usize, Errno> {
        if self.buffer.len() < HEADER + count {
            self.buffer.resize(HEADER + count, 0);
        }
        rustix::io::pread(file, &mut self.buffer[HEADER..HEADER + count], offset)
    }

    fn send(&mut self, unique: u64, body: Body<'_>) -> Result<(), Errno> {
        match body {
            Body::Error(error) => send(self.device, unique, Err(error), &[]),
            Body::Bytes(bytes) => send(self.device, unique, Ok(()), bytes),
            Body::Filled(len) => {
                let message = &mut self.buffer[..HEADER + len];
                message[..HEADER].copy_from_slice(OutHeader::new(unique, Ok(()), len).as_bytes());
                rustix::io::write(self.device, message).map(|_| ())
            }
        }
    }

    fn later(&mut self) -> Option<Box<dyn Later>> {
        Some(Box::new(DeviceLater(Arc::clone(self.device))))
    }
}

struct DeviceLater(Arc<OwnedFd>);

impl Later for DeviceLater {
    fn send(self: Box<Self>, unique: u64, result: Result<(), Errno>) {
        match send(&self.0, unique, result, &[]) {
            Ok(()) | Err(Errno::NOENT | Errno::NODEV | Errno::PERM) => {}
            Err(error) => tracing::warn!(%error, "a request got no reply"),
        }
    }
}

fn send(
    device: &OwnedFd,
    unique: u64,
    result: Result<(), Errno>,
    body: &[u8],
) -> Result<(), Errno> {
    let header = OutHeader::new(unique, result, body.len());
    let parts = [IoSlice::new(header.as_bytes()), IoSlice::new(body)];
    rustix::io::writev(device.as_fd(), &parts).map(|_| ())
}
