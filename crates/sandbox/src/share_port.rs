//! A directory that the guest reaches over vsock: a port at which it is served, for the machine's life.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use cenote_fuse::server::Server;
use cenote_fuse::stream::{STREAMS_LIMIT, Service, WORKERS_LIMIT};
use rustix::net::Shutdown;

use crate::sandbox::Sandbox;

/// How many requests of one connection are in work at once.
const WORKERS: usize = WORKERS_LIMIT / STREAMS_LIMIT;

/// A port of the host that only the guest reaches. Nothing is served any more when it is dropped.
#[derive(Debug)]
pub(crate) struct SharePort {
    listener: UnixListener,
    thread: Option<JoinHandle<Service>>,
}

impl SharePort {
    /// Serves a directory at `port`, on as many connections as the guest is told to make.
    pub fn open(
        sandbox: &Sandbox,
        port: u32,
        streams: usize,
        server: Arc<Server>,
    ) -> Result<SharePort, (PathBuf, io::Error)> {
        let mut path = sandbox.vsock().into_os_string();
        path.push(format!("_{port}"));
        let path = PathBuf::from(path);
        let open = || {
            let listener = UnixListener::bind(&path)?;
            let ours = listener.try_clone()?;
            let thread = thread::Builder::new()
                .name("share-port".to_owned())
                .spawn(move || serve(&ours, streams, server))?;
            Ok(SharePort {
                listener,
                thread: Some(thread),
            })
        };
        open().map_err(|error| (path.clone(), error))
    }
}

impl Drop for SharePort {
    fn drop(&mut self) {
        // Whoever waits for the guest waits no longer; where it has called already, this changes nothing.
        let _ = rustix::net::shutdown(&self.listener, Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Takes the guest's connections, and no more than it was told to make: what runs in it later finds nobody.
fn serve(listener: &UnixListener, streams: usize, server: Arc<Server>) -> Service {
    let mut service = Service::new(server, WORKERS);
    for _ in 0..streams {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            // The machine is over.
            Err(_) => return service,
        };
        if let Err(error) = service.add(stream.into()) {
            tracing::error!(%error, "a share is not served");
        }
    }
    let _ = rustix::net::shutdown(listener, Shutdown::Both);
    service
}
