//! Prints everything about a tree of files that an image can carry, one line a path, so that two trees can be compared.
//! Static, so that it also runs inside a guest.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use sha2::{Digest, Sha256};

fn main() -> io::Result<()> {
    let root = std::env::args_os()
        .nth(1)
        .ok_or_else(|| io::Error::other("usage: tree FOLDER"))?;
    let mut out = io::BufWriter::new(io::stdout().lock());
    folder(Path::new(&root), Path::new(""), &mut out)?;
    out.flush()
}

/// The entries of a folder in the order of their names, each folder's own behind it.
fn folder(root: &Path, below: &Path, out: &mut impl Write) -> io::Result<()> {
    let mut names = fs::read_dir(root.join(below))?
        .map(|entry| Ok(entry?.file_name()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    for name in names {
        let path = below.join(name);
        let full = root.join(&path);
        let metadata = fs::symlink_metadata(&full)?;
        writeln!(
            out,
            "{} {}",
            path.as_os_str().as_bytes().escape_ascii(),
            describe(&full, &metadata)?
        )?;
        if metadata.is_dir() {
            folder(root, &path, out)?;
        }
    }
    Ok(())
}

fn describe(path: &Path, metadata: &fs::Metadata) -> io::Result<String> {
    let kind = metadata.file_type();
    let what = if kind.is_file() {
        format!("file {} {}", metadata.len(), digest(path)?)
    } else if kind.is_symlink() {
        format!(
            "link {}",
            fs::read_link(path)?.as_os_str().as_bytes().escape_ascii()
        )
    } else if kind.is_char_device() || kind.is_block_device() {
        format!("device {:x}", metadata.rdev())
    } else {
        "other".to_owned()
    };
    // The number of a folder's links is the file system's own affair.
    let links = if metadata.is_dir() {
        0
    } else {
        metadata.nlink()
    };
    Ok(format!(
        "{:o} {}:{} {}.{:09} links {links} {what} {}",
        metadata.mode(),
        metadata.uid(),
        metadata.gid(),
        metadata.mtime(),
        metadata.mtime_nsec(),
        attributes(path)?
    ))
}

fn digest(path: &Path) -> io::Result<String> {
    let (mut file, mut hash, mut buffer) = (File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hash.update(&buffer[..length]),
        }
    }
    Ok(hash
        .finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

/// The extended attributes as `name=hex`, in the order of their names.
fn attributes(path: &Path) -> io::Result<String> {
    let mut list = vec![0_u8; 64 << 10];
    let length = match rustix::fs::llistxattr(path, &mut list[..]) {
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        length => length?,
    };
    let mut texts = Vec::new();
    for name in list[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty())
    {
        let name = String::from_utf8_lossy(name).into_owned();
        let mut value = vec![0_u8; 64 << 10];
        let length = rustix::fs::lgetxattr(path, &*name, &mut value[..])?;
        let hex: String = value[..length]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        texts.push(format!("{name}={hex}"));
    }
    texts.sort();
    Ok(texts.join(" "))
}
