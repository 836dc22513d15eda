//! The outer container of a `.deb`: the common `ar` format as deb(5) restricts it.

use std::io::{self, Read, Seek, SeekFrom};

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: usize = 60;
const END: &[u8; 2] = b"`\n";

/// deb(5) defines three members; a few more may follow and are ignored.
const MAX_MEMBERS: usize = 16;

/// One member: its name and where its bytes lie in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) name: String,
    pub(crate) offset: u64,
    pub(crate) size: u64,
}

/// Why a file is not a readable `ar` archive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("it does not begin with an ar header")]
    Magic,
    #[error("the header of member {0} is damaged")]
    Header(usize),
    #[error("member {name} claims {size} bytes, more than the file has")]
    Beyond { name: String, size: u64 },
    #[error("it has more than {MAX_MEMBERS} members")]
    TooMany,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Lists the members of `file`, each checked to lie inside it.
pub(crate) fn members(file: &mut (impl Read + Seek)) -> Result<Vec<Member>, Error> {
    let end = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(0))?;
    let mut magic = [0; MAGIC.len()];
    read(file, &mut magic, Error::Magic)?;
    if &magic != MAGIC {
        return Err(Error::Magic);
    }
    let mut members = Vec::new();
    let mut at = MAGIC.len() as u64;
    while at < end {
        if members.len() == MAX_MEMBERS {
            return Err(Error::TooMany);
        }
        file.seek(SeekFrom::Start(at))?;
        let mut header = [0; HEADER];
        read(file, &mut header, Error::Header(members.len()))?;
        let (name, size) = parse(&header).ok_or(Error::Header(members.len()))?;
        let offset = at + HEADER as u64;
        let after = offset.checked_add(size).filter(|after| *after <= end);
        let Some(after) = after else {
            return Err(Error::Beyond { name, size });
        };
        members.push(Member { name, offset, size });
        at = after + after % 2;
    }
    Ok(members)
}

/// Name (bytes 0..16) and size (48..58, decimal) of a header that ends with its mark.
fn parse(header: &[u8; HEADER]) -> Option<(String, u64)> {
    let field = |range: std::ops::Range<usize>| {
        Some(str::from_utf8(&header[range]).ok()?.trim_end_matches(' '))
    };
    if &header[58..] != END {
        return None;
    }
    let name = field(0..16)?.trim_end_matches('/');
    let size = field(48..58)?;
    if name.is_empty() || !size.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some((name.to_owned(), size.parse().ok()?))
}

fn read(file: &mut impl Read, into: &mut [u8], short: Error) -> Result<(), Error> {
    file.read_exact(into).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => short,
        _ => Error::Io(error),
    })
}
