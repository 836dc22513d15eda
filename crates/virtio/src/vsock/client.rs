//! A host program's way to a guest port.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Longest answer line, newline included; the device's own are shorter.
const MAX_ANSWER: usize = 64;

/// Why a guest port was not reached.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Nobody serves the socket: the sandbox is not running.
    #[error("cannot connect to the sandbox's socket {}: {source}; is it running?", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The sandbox ended while the guest was asked.
    #[error("the sandbox at {} closed the connection to guest port {port} before it was open", path.display())]
    Closed {
        /// The socket.
        path: PathBuf,
        /// The guest port.
        port: u32,
    },
    /// The device answered with a refusal.
    #[error("connection to guest port {port} refused: {answer}")]
    Refused {
        /// The guest port.
        port: u32,
        /// The device's words.
        answer: String,
    },
    /// Talking to the device failed.
    #[error("cannot talk to the sandbox's socket {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Connects to port `port` of the guest whose device listens at `socket`. Waits until the guest has answered; the
/// stream then carries payload only.
pub fn connect(socket: &Path, port: u32) -> Result<UnixStream, ConnectError> {
    let path = || socket.to_path_buf();
    let mut stream = UnixStream::connect(socket).map_err(|source| ConnectError::Socket {
        path: path(),
        source,
    })?;
    stream
        .write_all(format!("CONNECT {port}\n").as_bytes())
        .map_err(|source| ConnectError::Io {
            path: path(),
            source,
        })?;
    let answer = read_line(&mut stream).map_err(|source| ConnectError::Io {
        path: path(),
        source,
    })?;
    match answer {
        None => Err(ConnectError::Closed { path: path(), port }),
        Some(line) if line.starts_with("OK ") => Ok(stream),
        Some(line) => Err(ConnectError::Refused {
            port,
            answer: line.trim_start_matches("ERR ").to_owned(),
        }),
    }
}

/// Reads up to the newline and nothing beyond, since payload follows. `None` if the stream ends before.
fn read_line(stream: &mut UnixStream) -> io::Result<Option<String>> {
    let mut line = Vec::with_capacity(MAX_ANSWER);
    let mut byte = [0];
    while line.len() < MAX_ANSWER {
        match stream.read(&mut byte) {
            Ok(0) => return Ok(None),
            Ok(_) if byte[0] == b'\n' => {
                return Ok(Some(String::from_utf8_lossy(&line).into_owned()));
            }
            Ok(_) => line.push(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(
        io::ErrorKind::InvalidData,
        "the answer has no end",
    ))
}
