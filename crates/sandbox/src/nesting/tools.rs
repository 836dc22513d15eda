//! The image of the tools: everything that is lent but the container images. Made once for each content.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cenote_erofs::{LayerWriter, Metadata};
use cenote_kernel::Kernel;
use rustix::fs::{FlockOperation, SeekFrom};
use sha2::{Digest, Sha256};

use super::{Error, LENT, at, hex};
use crate::disk;
use crate::host::Host;
use crate::machine::{AGENT, groups};
use crate::paths::{DISKS, KERNELS, Paths, TOOLS};
use crate::spec::Resources;

/// Changes whenever the layout does, so that no file of an older one is used.
const LAYOUT: &[u8] = b"cenote lent tools 1";

/// The program, as it is called inside.
const PROGRAM: &str = "bin/cenote";

/// This very program, also when its file was replaced or removed meanwhile.
const OURSELVES: &str = "/proc/self/exe";

/// An image of tools in use.
#[derive(Debug)]
pub(crate) struct Held {
    pub path: PathBuf,
    /// Locked for as long as somebody uses it.
    _lock: File,
}

/// One file of the image: its name there, where it is, and what identifies its content.
struct Entry {
    name: PathBuf,
    path: PathBuf,
    content: String,
}

/// The image of tools for a sandbox that runs `kernel`: found, or made.
pub(super) fn layer(paths: &Paths, host: &Host, kernel: &Kernel) -> Result<Held, Error> {
    let entries = entries(paths, host, kernel)?;
    let name = format!("{}.erofs", key(&entries));
    if let Some(path) = paths.lent(&Path::new(LENT).join(&name)) {
        return hold(path);
    }
    let folder = paths.data.join(LENT);
    fs::create_dir_all(&folder).map_err(at(&folder))?;
    let path = folder.join(name);
    match hold(path.clone()) {
        Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
        held => return held,
    }
    write(&entries, &folder, &path)?;
    let held = hold(path)?;
    remove_others(&folder, &held.path)?;
    Ok(held)
}

fn entries(paths: &Paths, host: &Host, kernel: &Kernel) -> Result<Vec<Entry>, Error> {
    let mut entries = vec![Entry {
        name: PROGRAM.into(),
        path: OURSELVES.into(),
        content: digest(Path::new(OURSELVES))?,
    }];
    let tool = host.passt()?.private.ok_or(Error::HostsPasst)?;
    add_folder(&mut entries, TOOLS, &tool.folder, |_| true)?;
    // Machines with a network and a disk are the usual ones; for others the level below makes its own.
    let mut initramfs = Vec::new();
    for nested in [false, true] {
        let path = cenote_kernel::initramfs(kernel, AGENT, &groups(true, true, true, nested))?;
        if !initramfs.contains(&path) {
            initramfs.push(path);
        }
    }
    let is_made = |path: &Path| {
        path.extension()
            .is_some_and(|extension| extension == "cpio")
    };
    add_folder(&mut entries, KERNELS, &kernel.folder, |path| !is_made(path))?;
    for path in initramfs {
        let folder = Path::new(KERNELS).join(kernel.folder.file_name().unwrap_or_default());
        let file = path.file_name().unwrap_or_default();
        entries.push(Entry {
            name: folder.join(file),
            content: file.to_string_lossy().into_owned(),
            path: path.clone(),
        });
    }
    let size = Resources::default().disk;
    let template = disk::template(paths, size)?;
    entries.push(Entry {
        name: Path::new(DISKS).join(template.file_name().unwrap_or_default()),
        // Empty disks of one size differ in their random identifiers only.
        content: size.to_string(),
        path: template,
    });
    entries.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(entries)
}

/// Adds the wanted files of the folder `from` and of those in it, below `into` and the folder's own name.
fn add_folder(
    entries: &mut Vec<Entry>,
    into: &str,
    from: &Path,
    wanted: impl Fn(&Path) -> bool,
) -> Result<(), Error> {
    let top = Path::new(into).join(from.file_name().unwrap_or_default());
    let mut pending = vec![(top, from.to_owned())];
    while let Some((name, folder)) = pending.pop() {
        for entry in fs::read_dir(&folder).map_err(at(&folder))? {
            let entry = entry.map_err(at(&folder))?;
            let (path, name) = (entry.path(), name.join(entry.file_name()));
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                // Somebody is writing it.
            } else if path.is_dir() {
                pending.push((name, path));
            } else if wanted(&path) {
                let content = digest(&path)?;
                entries.push(Entry {
                    name,
                    path,
                    content,
                });
            }
        }
    }
    Ok(())
}

fn digest(path: &Path) -> Result<String, Error> {
    let mut hash = Sha256::new();
    let mut file = File::open(path).map_err(at(path))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(at(path))? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn key(entries: &[Entry]) -> String {
    let mut hash = Sha256::new();
    hash.update(LAYOUT);
    for entry in entries {
        hash.update(entry.name.as_os_str().as_bytes());
        hash.update([0]);
        hash.update(entry.content.as_bytes());
        hash.update([0]);
    }
    hex(&hash.finalize())
}

/// Writes the image without a name and names it when it is whole: nothing is left of a process that is killed.
fn write(entries: &[Entry], folder: &Path, path: &Path) -> Result<(), Error> {
    let file = tempfile::tempfile_in(folder).map_err(at(folder))?;
    let mut layer = LayerWriter::new(file.try_clone().map_err(at(path))?)?;
    for entry in entries {
        add(&mut layer, entry)?;
    }
    layer.finish()?;
    file.sync_all().map_err(at(path))?;
    match disk::name(&file, path) {
        // Somebody was faster, with the same content.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        named => named.map_err(at(path)),
    }
}

fn add(layer: &mut LayerWriter, entry: &Entry) -> Result<(), Error> {
    let failed = at(&entry.path);
    let mut file = File::open(&entry.path).map_err(&failed)?;
    let found = file.metadata().map_err(&failed)?;
    let extents = extents(&file, found.len()).map_err(&failed)?;
    let executable = found.permissions().mode() & 0o111 != 0;
    let meta = Metadata {
        mode: if executable { 0o755 } else { 0o644 },
        ..Metadata::default()
    };
    let name = entry.name.as_os_str().as_bytes();
    let mut data = Extents {
        file: &mut file,
        pending: extents.clone(),
    };
    layer.sparse_file(name, meta, found.len(), &extents, &mut data)?;
    Ok(())
}

/// Where a file has data: offset and length.
fn extents(file: &File, length: u64) -> io::Result<Vec<(u64, u64)>> {
    let mut extents = Vec::new();
    let mut position = 0;
    while position < length {
        let data = match rustix::fs::seek(file, SeekFrom::Data(position)) {
            Ok(data) => data,
            Err(rustix::io::Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        position = rustix::fs::seek(file, SeekFrom::Hole(data))?;
        extents.push((data, position - data));
    }
    Ok(extents)
}

/// Reads a file's data and passes over its holes.
struct Extents<'a> {
    file: &'a mut File,
    pending: Vec<(u64, u64)>,
}

impl Read for Extents<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        let Some((offset, length)) = self.pending.first_mut() else {
            return Ok(0);
        };
        let room = buffer
            .len()
            .min(usize::try_from(*length).unwrap_or(usize::MAX));
        let count = self.file.read_at(&mut buffer[..room], *offset)?;
        *offset += count as u64;
        *length -= count as u64;
        if *length == 0 {
            self.pending.remove(0);
        }
        Ok(count)
    }
}

fn hold(path: PathBuf) -> Result<Held, Error> {
    let lock = File::open(&path).map_err(at(&path))?;
    flock(&lock, FlockOperation::LockShared).map_err(at(&path))?;
    Ok(Held { path, _lock: lock })
}

/// Removes images of tools that no sandbox uses any more: each build of this program makes another one.
fn remove_others(folder: &Path, kept: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(at(folder))? {
        let path = entry.map_err(at(folder))?.path();
        // Whoever removes one at the same time is as good as we are.
        let Ok(file) = File::open(&path) else {
            continue;
        };
        if path != kept && flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok() {
            fs::remove_file(&path).map_err(at(&path))?;
        }
    }
    Ok(())
}

fn flock(file: impl AsFd, how: FlockOperation) -> io::Result<()> {
    Ok(rustix::fs::flock(file, how)?)
}
