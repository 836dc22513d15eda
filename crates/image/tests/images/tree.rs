//! A tree of files as a list that can be compared: every path with all that the kernel says of it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use cenote_image::{Digest, Image};

use crate::support::run;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Type and permissions.
    pub mode: u32,
    pub owner: (u32, u32),
    /// 0 for folders, whose size is the file system's affair.
    pub size: u64,
    pub mtime: (i64, i64),
    pub device: u64,
    pub target: Option<PathBuf>,
    pub content: Option<Digest>,
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// The first path of the same inode.
    pub first_name: PathBuf,
}

pub type Tree = BTreeMap<PathBuf, Entry>;

/// Everything below `root`, and `root` itself as the empty path.
pub fn read(root: &Path) -> Tree {
    let mut paths = vec![PathBuf::new()];
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            }
            paths.push(entry.path().strip_prefix(root).unwrap().to_owned());
        }
    }
    paths.sort();
    let mut inodes = HashMap::new();
    let mut describe = |path: PathBuf| {
        let full = match path.as_os_str().is_empty() {
            true => root.to_owned(),
            false => root.join(&path),
        };
        let metadata = fs::symlink_metadata(&full).unwrap();
        let first_name = inodes
            .entry(metadata.ino())
            .or_insert_with(|| path.clone())
            .clone();
        let entry = Entry {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            size: if metadata.is_dir() {
                0
            } else {
                metadata.size()
            },
            mtime: (metadata.mtime(), metadata.mtime_nsec()),
            device: metadata.rdev(),
            target: metadata.is_symlink().then(|| fs::read_link(&full).unwrap()),
            content: metadata
                .is_file()
                .then(|| Digest::of(&fs::read(&full).unwrap())),
            xattrs: xattrs(&full),
            first_name,
        };
        (path, entry)
    };
    paths.into_iter().map(&mut describe).collect()
}

fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut names = vec![0; 64 << 10];
    let length = rustix::fs::llistxattr(path, &mut names[..]).unwrap();
    let names = names[..length]
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty());
    names
        .map(|name| {
            let name = std::str::from_utf8(name).unwrap();
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(path, name, &mut value[..]).unwrap();
            value.truncate(length);
            (name.to_owned(), value)
        })
        .collect()
}

/// The merged tree of an image, as erofs-utils reads it: written into the folder `to`, which must not exist.
///
/// The pieces are put into one file without a device table first: unlike Linux, erofs-utils 1.8 finds no data of plain inodes by
/// unified addresses if there is one.
pub fn extract(image: &Image, to: &Path) -> Tree {
    let mut fsck = Command::new(program("fsck.erofs"));
    fsck.args(["--xattrs", "--preserve"]);
    fsck.arg(format!("--extract={}", to.display()));
    let flat = to.with_extension("erofs");
    let mut file = fs::File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&flat)
        .unwrap();
    for piece in [&image.meta].into_iter().chain(&image.layers) {
        io::copy(&mut fs::File::open(piece).unwrap(), &mut file).unwrap();
    }
    without_device_table(&file);
    run("erofs-utils", fsck.arg(&flat));
    read(to)
}

/// What dump.erofs says of a path.
pub fn dump(image: &Image, path: &str) -> String {
    let mut dump = Command::new(program("dump.erofs"));
    run(
        "erofs-utils",
        dump.arg(format!("--path={path}")).arg(&image.meta),
    )
}

/// One of erofs-utils' programs.
fn program(name: &str) -> PathBuf {
    let folder = match std::env::var_os("CENOTE_EROFS_UTILS") {
        Some(folder) => PathBuf::from(folder),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/erofs-utils"),
    };
    let program = folder.join(name);
    assert!(
        program.exists(),
        "{} is missing: run scripts/fetch-erofs-utils target/tools/erofs-utils, or set CENOTE_EROFS_UTILS",
        program.display()
    );
    program
}

/// Makes the pieces one device, as far as the superblock says (Linux, `fs/erofs/erofs_fs.h`).
fn without_device_table(flat: &fs::File) {
    const SUPERBLOCK: u64 = 1024;
    const BLOCK: u64 = 4096;
    let patch = |offset: u64, bytes: &[u8]| flat.write_all_at(bytes, SUPERBLOCK + offset).unwrap();
    let blocks = u32::try_from(flat.metadata().unwrap().len() / BLOCK).unwrap();
    // feature_compat without the superblock's checksum, with times.
    patch(8, &2_u32.to_le_bytes());
    patch(36, &blocks.to_le_bytes());
    // feature_incompat without the device table, and the number of extra devices.
    let mut incompat = [0; 4];
    flat.read_exact_at(&mut incompat, SUPERBLOCK + 80).unwrap();
    patch(80, &(u32::from_le_bytes(incompat) & !8).to_le_bytes());
    patch(86, &[0; 2]);
}

/// Panics with the first differences.
pub fn assert_equal(ours: &Tree, theirs: &Tree) {
    let mut differences = Vec::new();
    for path in ours
        .keys()
        .chain(theirs.keys().filter(|path| !ours.contains_key(*path)))
    {
        let (our, their) = (ours.get(path), theirs.get(path));
        if our != their {
            let name = path.as_os_str().as_bytes().escape_ascii();
            differences.push(format!("{name}:\n  ours   {our:?}\n  theirs {their:?}"));
        }
    }
    let count = differences.len();
    differences.truncate(10);
    assert!(
        count == 0,
        "{count} differences\n{}",
        differences.join("\n")
    );
}
