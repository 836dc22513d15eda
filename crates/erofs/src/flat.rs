//! For tests: a tree as a list of paths that can be compared, file contents included.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::os::unix::fs::FileExt;

use crate::layout::BLOCK_SIZE;
use crate::metadata::{Device, Metadata};
use crate::tree::{Blocks, Kind, Regular, Tree};

pub(crate) type Flat = BTreeMap<Vec<u8>, Entry>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub meta: Metadata,
    pub what: What,
    /// The first path of the same inode.
    pub first_name: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum What {
    Directory,
    File(Vec<u8>),
    Symlink(Vec<u8>),
    Device(Device, u32, u32),
    Fifo,
    Socket,
    Whiteout,
    DeferredLink(Vec<u8>),
}

/// Lists a tree. `space` is what block addresses of files count in.
pub(crate) fn flatten(tree: &Tree, space: &File) -> Flat {
    let mut flat = Flat::new();
    let mut pending = vec![(Vec::new(), Tree::ROOT)];
    while let Some((path, id)) = pending.pop() {
        let inode = tree.get(id);
        let what = match &inode.kind {
            Kind::Directory(directory) => {
                for (name, &child) in &directory.children {
                    let prefix = if path.is_empty() {
                        Vec::new()
                    } else {
                        [&path[..], b"/"].concat()
                    };
                    pending.push(([&prefix[..], name].concat(), child));
                }
                What::Directory
            }
            Kind::Regular(regular) => What::File(content(regular, space)),
            Kind::Symlink(target) => What::Symlink(target.to_vec()),
            &Kind::Device {
                device,
                major,
                minor,
            } => What::Device(device, major, minor),
            Kind::Fifo => What::Fifo,
            Kind::Socket => What::Socket,
            Kind::Whiteout => What::Whiteout,
            Kind::DeferredLink(target) => What::DeferredLink(target.to_vec()),
        };
        flat.insert(
            path,
            Entry {
                meta: inode.meta.clone(),
                what,
                first_name: id.index().to_ne_bytes().to_vec(),
            },
        );
    }
    name_groups(&mut flat);
    flat
}

/// Replaces what tells inodes apart by the first path of each.
pub(crate) fn name_groups(flat: &mut Flat) {
    let mut first: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
    for (path, entry) in flat.iter_mut() {
        entry.first_name = first
            .entry(entry.first_name.clone())
            .or_insert_with(|| path.clone())
            .clone();
    }
}

fn content(regular: &Regular, space: &File) -> Vec<u8> {
    let mut bytes = vec![0; regular.size as usize];
    let mut read = |position: u64, block: u32, length: u64| {
        let end = (position + length).min(regular.size);
        let target = &mut bytes[position as usize..end as usize];
        space
            .read_exact_at(target, u64::from(block) * BLOCK_SIZE)
            .unwrap();
    };
    match &regular.blocks {
        Blocks::Plain(first) => read(0, *first, regular.size),
        Blocks::Chunks { chunk_bits, runs } => {
            for run in runs {
                let chunk = BLOCK_SIZE << chunk_bits;
                read(
                    u64::from(run.first) * chunk,
                    run.block,
                    u64::from(run.count) * chunk,
                );
            }
        }
    }
    bytes
}
