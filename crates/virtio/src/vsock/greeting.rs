//! The line with which a host client names the guest port that it wants: `CONNECT <port>\n`.
//!
//! What follows the newline is payload for the guest already, so exactly the line is taken from the socket.

use std::os::fd::AsFd;
use std::str;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

/// Longest line: `CONNECT 4294967295\n` is 19 bytes.
const MAX_LINE: usize = 32;

/// What became of reading the line.
#[derive(Debug, PartialEq, Eq)]
pub enum Greeting {
    /// The line is there and is taken from the socket.
    Port(u32),
    /// The client has not sent all of it.
    Incomplete,
    /// The client sent something else, or hung up.
    Invalid,
}

/// Reads the line from a socket that may not have all of it, without waiting.
pub fn read(stream: impl AsFd) -> Greeting {
    let mut line = [0; MAX_LINE];
    let seen = match recv(&stream, &mut line, RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, seen @ 1..)) => &line[..seen],
        Err(Errno::AGAIN | Errno::INTR) => return Greeting::Incomplete,
        Ok(_) | Err(_) => return Greeting::Invalid,
    };
    let Some(end) = seen.iter().position(|byte| *byte == b'\n') else {
        return if seen.len() < MAX_LINE {
            Greeting::Incomplete
        } else {
            Greeting::Invalid
        };
    };
    let port = parse(&seen[..end]);
    // The bytes were just seen, so that all of them come at once. A wrong line is taken as well: closing the socket with
    // bytes unread would be an error to the client, behind the answer.
    match (port, recv(&stream, &mut line[..=end], RecvFlags::DONTWAIT)) {
        (Some(port), Ok((_, taken))) if taken == end + 1 => Greeting::Port(port),
        _ => Greeting::Invalid,
    }
}

fn parse(line: &[u8]) -> Option<u32> {
    let digits = line.strip_prefix(b"CONNECT ")?;
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
