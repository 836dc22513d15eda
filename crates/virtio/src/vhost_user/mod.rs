//! Lends a [`Device`] to another VMM by the vhost-user protocol: we are its back-end, the VMM is the front-end.
//!
//! [`serve`] takes a connected Unix socket. For QEMU that is one end of a socket pair whose other end it inherits as
//! descriptor N, so that no path needs to exist; guest memory must be a shared memory file:
//!
//! ```text
//! -object memory-backend-memfd,id=ram,size=512M,share=on -machine q35,memory-backend=ram
//! -chardev socket,id=c0,fd=N -device vhost-user-vsock-pci,chardev=c0
//! ```
//!
//! The device runs while the front-end keeps rings enabled. When it stops a ring and starts it again where it stood, the
//! device goes on; when it starts it elsewhere, or goes away, the driver is gone and the device is reset.
//!
//! Only regions of shared memory files become the device's RAM. Others that a front-end may announce (files below a
//! writable virtio-pmem) are left out, so that no buffer address makes the device write into a file of the host. QEMU
//! does not announce what the guest may only read, so whoever places image files in the guest's memory says so with
//! [`Windows`]: the guest's requests may then take data from there.
//!
//! The guest is a stranger, the front-end is not quite: it is trusted not to make its memory files shorter while the
//! device runs, which would end this process by a signal. QEMU's memfd is sealed against that.

mod backend;
#[cfg(any(test, feature = "testing"))]
pub mod fuzz;
mod regions;
mod rings;

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use thiserror::Error;
use vhost::vhost_user::{BackendReqHandler, Error as ProtocolError};

use self::backend::Backend;
use crate::device::Device;
use crate::memory::Windows;

/// Why a device is not served, or not any more.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The thread could not be started.
    #[error("cannot start a thread for the {device} device: {source}; check the limit on threads")]
    Thread {
        /// Name of the device.
        device: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// The front-end sent what the protocol or the device does not allow.
    #[error("the VMM that uses the {device} device broke the vhost-user protocol: {source}")]
    Protocol {
        /// Name of the device.
        device: &'static str,
        /// What was wrong.
        source: ProtocolError,
    },
    /// The serving thread ended by a defect.
    #[error(
        "the thread that serves the {device} device has panicked; this is a defect, see the log"
    )]
    Panicked {
        /// Name of the device.
        device: &'static str,
    },
}

/// A device that is being served. Dropping it ends the service and the device.
pub struct Handle {
    name: &'static str,
    /// Keeps the device until the handle goes: what the guest sent last may still be on its way to the host.
    _backend: Arc<Mutex<Backend>>,
    socket: UnixStream,
    thread: Option<JoinHandle<Result<(), ProtocolError>>>,
}

impl Handle {
    /// Waits until the front-end has gone away. The device lives on, without a driver, until the handle is dropped.
    pub fn wait(&mut self) -> Result<(), ServeError> {
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        match thread.join() {
            Ok(Ok(())) => Ok(()),
            Ok(Err(source)) => Err(ServeError::Protocol {
                device: self.name,
                source,
            }),
            Err(_) => Err(ServeError::Panicked { device: self.name }),
        }
    }

    /// Hangs up on the front-end and waits until nothing of its memory is touched any more.
    pub fn stop(&mut self) -> Result<(), ServeError> {
        // Fails only if the front-end is gone already.
        let _ = self.socket.shutdown(Shutdown::Both);
        self.wait()
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::warn!(%error, "vhost-user");
        }
    }
}

/// Serves `device` to the front-end at the other end of `socket`, in a background thread, until it goes away. `windows` are
/// the files that the guest has in its memory beside what the front-end announces.
pub fn serve(
    device: Box<dyn Device>,
    socket: UnixStream,
    windows: Arc<Windows>,
) -> Result<Handle, ServeError> {
    let name = device.name();
    let thread_error = |source| ServeError::Thread {
        device: name,
        source,
    };
    let backend = Arc::new(Mutex::new(Backend::new(device, windows)));
    let hangup = socket.try_clone().map_err(thread_error)?;
    let closing = socket.try_clone().map_err(thread_error)?;
    let serving = Arc::clone(&backend);
    let run = move || {
        let mut requests = BackendReqHandler::from_stream(socket, Arc::clone(&serving));
        let result = answer_all(&mut requests);
        // After a refused request the front-end would wait for an answer for ever. Fails only if it is gone already.
        let _ = closing.shutdown(Shutdown::Both);
        serving
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .frontend_gone();
        result
    };
    let thread = thread::Builder::new()
        .name(format!("vhost-user-{name}"))
        .spawn(run)
        .map_err(thread_error)?;
    Ok(Handle {
        name,
        _backend: backend,
        socket: hangup,
        thread: Some(thread),
    })
}

/// Answers the front-end until it goes away, or sends what must be refused.
fn answer_all(requests: &mut BackendReqHandler<Mutex<Backend>>) -> Result<(), ProtocolError> {
    loop {
        match requests.handle_request() {
            Ok(()) => {}
            Err(
                ProtocolError::Disconnected
                | ProtocolError::PartialMessage
                | ProtocolError::SocketBroken(_),
            ) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
pub(crate) mod fake_frontend;
#[cfg(test)]
mod tests;
