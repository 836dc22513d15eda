//! Messages as a client sends them.

use zerocopy::IntoBytes;

use crate::wire::{InHeader, InitIn, MAJOR, MINOR, Opcode};

/// User and group of whoever runs the test.
pub fn me() -> (u32, u32) {
    (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    )
}

/// Request `unique` of the user and group `from`, whose length counts `data` more bytes that follow elsewhere.
pub fn message(
    from: (u32, u32),
    unique: u64,
    opcode: Opcode,
    node: u64,
    parts: &[&[u8]],
    data: u32,
) -> Vec<u8> {
    let len = size_of::<InHeader>() + parts.iter().map(|part| part.len()).sum::<usize>();
    let header = InHeader {
        len: len as u32 + data,
        opcode: opcode as u32,
        unique,
        node,
        uid: from.0,
        gid: from.1,
        pid: 1,
        extensions: 0,
        padding: 0,
    };
    let mut message = header.as_bytes().to_vec();
    parts.iter().for_each(|part| message.extend(*part));
    message
}

/// INIT's arguments of a client that offers everything that the protocol has.
pub fn whole_offer() -> InitIn {
    InitIn {
        major: MAJOR,
        minor: MINOR,
        max_readahead: 131_072,
        flags: u32::MAX >> 1,
        flags2: u32::MAX,
        unused: [0; 11],
    }
}
