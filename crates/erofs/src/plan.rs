//! Where each inode and each directory block will lie, before a byte of them is written.
//!
//! ```text
//! inode area: | inode xattrs tail | inode xattrs chunk indexes | ...   breadth first, the root at its start
//! block area: | directory blocks, link targets that are too long to be inline | ...
//! ```

use crate::directory;
use crate::layout::*;
use crate::sparse::chunk_count;
use crate::tree::{Blocks, Inode, InodeId, Kind, Regular, Tree};
use crate::write_error::WriteError;
use crate::xattr::{self, disk_xattrs};

/// Longer tails go to a block of their own: keeping them inline would waste the rest of a block just as well.
const MAX_INLINE: u64 = BLOCK_SIZE / 2;

/// An inode's place.
pub(crate) struct Place {
    pub id: InodeId,
    /// Byte offset in the inode area.
    pub offset: u64,
    pub nlink: u32,
    /// Size that the inode states.
    pub size: u64,
    /// Directories and links only: the part that does not fill a block lies behind the inode.
    pub inline: bool,
    /// Directories and links only: first block of the rest in the block area.
    pub first_block: u64,
}

pub(crate) struct Plan {
    /// In the order of their offsets.
    pub places: Vec<Place>,
    /// Index into `places` by inode.
    by_inode: Vec<u32>,
    /// Bytes of the inode area.
    pub inode_bytes: u64,
    /// Blocks of the block area.
    pub blocks: u64,
    pub has_chunks: bool,
}

/// The root is not node 0: that would be inode number 0, which programs take for a deleted file.
const FIRST_INODE: u64 = INODE_SLOT;

const UNPLACED: u32 = u32::MAX;

impl Plan {
    /// Places everything that is reachable from the root.
    pub(crate) fn new(tree: &Tree) -> Result<Self, WriteError> {
        let mut plan = Self {
            places: Vec::new(),
            by_inode: vec![UNPLACED; tree.len()],
            inode_bytes: FIRST_INODE,
            blocks: 0,
            has_chunks: false,
        };
        plan.place(tree, Tree::ROOT);
        let mut next = 0;
        while next < plan.places.len() {
            let id = plan.places[next].id;
            if let Some(directory) = tree.directory(id) {
                for &child in directory.children.values() {
                    match plan.by_inode[child.index()] {
                        UNPLACED => plan.place(tree, child),
                        index => plan.places[index as usize].nlink += 1,
                    }
                }
            }
            next += 1;
        }
        match plan.inode_bytes.div_ceil(BLOCK_SIZE) + plan.blocks < MAX_BLOCKS {
            true => Ok(plan),
            false => Err(WriteError::TooLarge { limit: MAX_BLOCKS }),
        }
    }

    /// The node id: slots from the start of the inode area.
    pub(crate) fn nid(&self, id: InodeId) -> u64 {
        self.places[self.by_inode[id.index()] as usize].offset / INODE_SLOT
    }

    fn place(&mut self, tree: &Tree, id: InodeId) {
        let inode = tree.get(id);
        let head = INODE_SIZE + xattr::body_size(&disk_xattrs(inode)) as u64;
        let (size, nlink) = measure(tree, inode);
        let mut place = Place {
            id,
            offset: self.inode_bytes,
            nlink,
            size,
            inline: false,
            first_block: 0,
        };
        let tail = match &inode.kind {
            Kind::Directory(_) | Kind::Symlink(_) => self.place_content(&mut place, head),
            Kind::Regular(regular) => self.index_bytes(regular),
            _ => 0,
        };
        self.by_inode[id.index()] = self.places.len() as u32;
        self.inode_bytes = (place.offset + head + tail).next_multiple_of(INODE_SLOT);
        self.places.push(place);
    }

    /// Puts what does not fill a block behind the inode, unless that is much; the rest goes to the block area.
    /// Returns the bytes behind the inode. They may not cross a block boundary, so the inode may have to move on.
    fn place_content(&mut self, place: &mut Place, head: u64) -> u64 {
        let tail = place.size % BLOCK_SIZE;
        place.inline = tail != 0 && tail <= MAX_INLINE;
        place.first_block = self.blocks;
        self.blocks += place.whole_blocks();
        if !place.inline {
            return 0;
        }
        while (place.offset + head) % BLOCK_SIZE + tail > BLOCK_SIZE {
            place.offset += INODE_SLOT;
        }
        tail
    }

    /// Bytes of chunk indexes behind a regular file's inode.
    fn index_bytes(&mut self, regular: &Regular) -> u64 {
        match regular.blocks {
            Blocks::Plain(_) => 0,
            Blocks::Chunks { chunk_bits, .. } => {
                self.has_chunks = true;
                chunk_count(regular.size, chunk_bits) * 4
            }
        }
    }
}

impl Place {
    /// Blocks in the block area.
    pub(crate) fn whole_blocks(&self) -> u64 {
        if self.inline {
            self.size / BLOCK_SIZE
        } else {
            self.size.div_ceil(BLOCK_SIZE)
        }
    }
}

/// The size that an inode states, and the links that it has by itself: a directory its own name, its "." and the ".."
/// of each directory in it.
fn measure(tree: &Tree, inode: &Inode) -> (u64, u32) {
    match &inode.kind {
        Kind::Directory(directory) => {
            let mut names: Vec<&[u8]> = vec![b".", b".."];
            names.extend(directory.children.keys().map(|name| &name[..]));
            names.sort_unstable();
            let inside = directory
                .children
                .values()
                .filter(|&&child| tree.directory(child).is_some())
                .count();
            (directory::size(&names), 2 + inside as u32)
        }
        Kind::Regular(regular) => (regular.size, 1),
        Kind::Symlink(target) => (target.len() as u64, 1),
        _ => (0, 1),
    }
}
