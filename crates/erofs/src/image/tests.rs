//! A valid image, one field changed, the exact error.

use std::fs::File;
use std::io::{Cursor, Write};

use proptest::collection::vec;
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

use super::*;
use crate::directory::decode_block;
use crate::metadata::{Metadata, Timestamp};
use crate::{LayerSource, LayerWriter, merge};

/// The bytes of an image, and how to change it.
struct Bytes {
    bytes: Vec<u8>,
}

fn meta() -> Metadata {
    let mtime = Timestamp {
        seconds: -1,
        nanoseconds: 5,
    };
    Metadata {
        mode: 0o644,
        mtime,
        xattrs: vec![(b"user.a".to_vec(), b"value".to_vec())],
        ..Metadata::default()
    }
}

impl Bytes {
    /// `/d/`, `/d/e/`, `/f` (also `/h`), `/l -> f`, `/holes`.
    fn sample() -> Self {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut layer = LayerWriter::new(file.reopen().unwrap()).unwrap();
        layer.directory(b"d", meta()).unwrap();
        layer.directory(b"d/e", meta()).unwrap();
        layer.file(b"f", meta(), 5000, &mut &[7; 5000][..]).unwrap();
        layer.hard_link(b"h", b"f").unwrap();
        layer.symlink(b"l", meta(), b"f").unwrap();
        layer
            .sparse_file(
                b"holes",
                meta(),
                1 << 20,
                &[(1 << 19, 10)],
                &mut &[7; 10][..],
            )
            .unwrap();
        layer.finish().unwrap();
        Self {
            bytes: std::fs::read(file.path()).unwrap(),
        }
    }

    /// The sample as the only layer of a merged image; without the layer's data.
    fn merged_sample() -> Self {
        let layer = tempfile::NamedTempFile::new().unwrap();
        layer.as_file().write_all_at_start(&Self::sample().bytes);
        let merged = tempfile::NamedTempFile::new().unwrap();
        let source = LayerSource {
            path: layer.path().to_owned(),
            tag: [b'x'; 64],
        };
        merge(&[source], merged.reopen().unwrap()).unwrap();
        Self {
            bytes: std::fs::read(merged.path()).unwrap(),
        }
    }

    fn superblock(&mut self, change: impl FnOnce(&mut Superblock)) {
        let at = SUPERBLOCK_OFFSET as usize;
        let mut superblock = Superblock::read_from_prefix(&self.bytes[at..]).unwrap().0;
        change(&mut superblock);
        superblock.checksum = 0.into();
        self.bytes[at..at + 128].copy_from_slice(superblock.as_bytes());
        let checksum = crc32c(&self.bytes[at..BLOCK_SIZE as usize]);
        self.bytes[at + 4..at + 8].copy_from_slice(&checksum.to_le_bytes());
    }

    /// Byte offset of a node.
    fn offset(&self, nid: u64) -> usize {
        let superblock = Superblock::read_from_prefix(&self.bytes[SUPERBLOCK_OFFSET as usize..])
            .unwrap()
            .0;
        (u64::from(superblock.meta_block.get()) * BLOCK_SIZE + nid * INODE_SLOT) as usize
    }

    /// The node that a directory, which must be inline, has under a name.
    fn child(&self, directory: u64, name: &[u8]) -> u64 {
        let block = self.entries(directory);
        let entries = decode_block(&self.bytes[block]).unwrap();
        entries.iter().find(|entry| entry.name == name).unwrap().nid
    }

    /// Where an inline directory's entries are.
    fn entries(&self, directory: u64) -> std::ops::Range<usize> {
        let at = self.offset(directory);
        let inode = DiskInode::read_from_prefix(&self.bytes[at..]).unwrap().0;
        let attributes = match usize::from(inode.xattr_count.get()) {
            0 => 0,
            count => XATTR_HEADER_SIZE + (count - 1) * 4,
        };
        let start = at + INODE_SIZE as usize + attributes;
        start..start + inode.size.get() as usize
    }

    fn inode(&mut self, nid: u64, change: impl FnOnce(&mut DiskInode)) {
        let at = self.offset(nid);
        let mut inode = DiskInode::read_from_prefix(&self.bytes[at..]).unwrap().0;
        change(&mut inode);
        self.bytes[at..at + INODE_SIZE as usize].copy_from_slice(inode.as_bytes());
    }

    fn check(&self) -> Result<u64, ReadError> {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at_start(&self.bytes);
        Image::open(file)?.check()
    }

    fn error(&self) -> ReadError {
        self.check().unwrap_err()
    }

    /// What is wrong with a node.
    fn fault(&self) -> (u64, &'static str) {
        match self.error() {
            ReadError::Node { nid, reason } | ReadError::Xattrs { nid, reason } => (nid, reason),
            other => panic!("{other:?}"),
        }
    }
}

trait WriteAtStart {
    fn write_all_at_start(&self, bytes: &[u8]);
}

impl WriteAtStart for File {
    fn write_all_at_start(&self, bytes: &[u8]) {
        let mut file = self;
        std::io::copy(&mut Cursor::new(bytes), &mut file).unwrap();
        file.flush().unwrap();
    }
}

const ROOT: u64 = 1;

#[test]
fn the_samples_are_valid() {
    assert_eq!(Bytes::sample().check().unwrap(), 6);
    assert_eq!(Bytes::merged_sample().check().unwrap(), 6);
}

#[test]
fn the_superblock_is_checked() {
    let mut image = Bytes::sample();
    image.superblock(|superblock| superblock.magic = 7.into());
    assert!(matches!(image.error(), ReadError::NotErofs { found: 7 }));

    let mut image = Bytes::sample();
    image.bytes[SUPERBLOCK_OFFSET as usize + 20] ^= 1;
    assert!(matches!(image.error(), ReadError::Checksum { .. }));

    let mut image = Bytes::sample();
    image.superblock(|superblock| superblock.block_bits = 9);
    assert!(matches!(
        image.error(),
        ReadError::Unsupported {
            field: "block size exponent",
            value: 9
        }
    ));

    let mut image = Bytes::sample();
    image.superblock(|superblock| superblock.directory_block_bits = 1);
    assert!(matches!(
        image.error(),
        ReadError::Unsupported {
            field: "directory block size exponent",
            value: 1
        }
    ));

    let mut image = Bytes::sample();
    image.superblock(|superblock| superblock.feature_incompat = 0x21.into());
    assert!(matches!(
        image.error(),
        ReadError::Unsupported {
            field: "incompatible features",
            value: 0x21
        }
    ));

    let mut image = Bytes::sample();
    image.superblock(|superblock| superblock.blocks = (superblock.blocks.get() + 1).into());
    assert!(matches!(
        image.error(),
        ReadError::Truncated {
            blocks: 513,
            length: 0x20_0000
        }
    ));

    let mut image = Bytes::sample();
    image.bytes.truncate(2000);
    assert!(matches!(
        image.error(),
        ReadError::OutOfImage {
            offset: 0,
            length: 4096
        }
    ));
}

#[test]
fn the_superblock_may_not_lead_out_of_the_image() {
    let mut image = Bytes::sample();
    image.superblock(|superblock| superblock.meta_block = u32::MAX.into());
    assert!(matches!(
        image.error(),
        ReadError::OutOfImage {
            length: INODE_SIZE,
            ..
        }
    ));

    let mut image = Bytes::sample();
    let file = image.child(ROOT, b"f");
    image.superblock(|superblock| superblock.root_nid = (file as u16).into());
    assert_eq!(image.fault(), (file, "is the root but no directory"));
}

#[test]
fn the_device_table_must_be_seamless() {
    let mut image = Bytes::merged_sample();
    let slot = 9 * DEVICE_SLOT_SIZE as usize;
    image.bytes[slot + 68] ^= 1;
    image.superblock(|_| {});
    assert!(matches!(
        image.error(),
        ReadError::Device {
            index: 0,
            start: 513,
            expected: 512
        }
    ));

    let mut image = Bytes::merged_sample();
    image.bytes[slot + 64..slot + 68].fill(0xff);
    image.superblock(|_| {});
    assert!(matches!(
        image.error(),
        ReadError::Device {
            index: 0,
            start: 512,
            expected: 512
        }
    ));

    let mut image = Bytes::merged_sample();
    image.superblock(|superblock| superblock.extra_devices = u16::MAX.into());
    assert!(matches!(
        image.error(),
        ReadError::Device {
            index: 1,
            start: 0,
            ..
        }
    ));
}

#[test]
fn an_inode_is_checked() {
    let fault = |change: &dyn Fn(&mut DiskInode)| {
        let mut image = Bytes::sample();
        let file = image.child(ROOT, b"f");
        image.inode(file, change);
        let (nid, reason) = image.fault();
        assert_eq!(nid, file);
        reason
    };
    assert_eq!(
        fault(&|inode| inode.format = 0.into()),
        "is a compact inode, which is not supported"
    );
    assert_eq!(
        fault(&|inode| inode.format = 5.into()),
        "is a file whose data layout rules out DAX"
    );
    assert_eq!(
        fault(&|inode| inode.mtime_nsec = 1_000_000_000.into()),
        "has a time beyond its second"
    );
    assert_eq!(
        fault(&|inode| inode.mode = 0o644.into()),
        "has an unknown file type"
    );
    assert_eq!(
        fault(&|inode| inode.mode = (S_IFIFO | 0o644).into()),
        "is of another type than its name says"
    );
}

#[test]
fn data_must_lie_in_the_image() {
    let mut image = Bytes::sample();
    let file = image.child(ROOT, b"f");
    image.inode(file, |inode| inode.address = 511.into());
    assert!(matches!(
        image.error(),
        ReadError::DataOutOfImage { nid, first: 511, count: 2, blocks: 512 } if nid == file
    ));

    let mut image = Bytes::sample();
    image.inode(file, |inode| inode.size = u64::MAX.into());
    assert!(matches!(image.error(), ReadError::DataOutOfImage { nid, .. } if nid == file));
}

#[test]
fn chunks_are_checked() {
    let mut image = Bytes::sample();
    let holes = image.child(ROOT, b"holes");
    image.inode(holes, |inode| inode.address = 0x20.into());
    assert_eq!(
        image.fault(),
        (holes, "has a chunk format that is not supported")
    );

    let mut image = Bytes::sample();
    image.inode(holes, |inode| inode.size = (1 << 60).into());
    assert_eq!(image.fault(), (holes, "has too many chunks"));

    let mut image = Bytes::sample();
    let indexes = image.entries(holes).start;
    image.bytes[indexes..indexes + 4].copy_from_slice(&5000u32.to_le_bytes());
    assert!(matches!(
        image.error(),
        ReadError::DataOutOfImage { first: 5000, .. }
    ));
}

#[test]
fn links_are_checked() {
    let mut image = Bytes::sample();
    let link = image.child(ROOT, b"l");
    image.inode(link, |inode| inode.size = 0.into());
    assert_eq!(
        image.fault(),
        (
            link,
            "is a symbolic link with a target of no byte or more than 4095"
        )
    );

    let mut image = Bytes::sample();
    let target = image.entries(link).start;
    image.bytes[target] = 0;
    assert_eq!(
        image.fault(),
        (link, "is a symbolic link with a NUL byte in its target")
    );

    let mut image = Bytes::sample();
    let file = image.child(ROOT, b"f");
    image.inode(file, |inode| inode.nlink = 3.into());
    assert!(
        matches!(image.error(), ReadError::LinkCount { stated: 3, found: 2, nid } if nid == file)
    );
}

#[test]
fn a_directory_is_checked() {
    let fault = |change: &dyn Fn(&mut [u8])| {
        let mut image = Bytes::sample();
        let entries = image.entries(ROOT);
        change(&mut image.bytes[entries]);
        image.fault()
    };
    // Entries: "." ".." "d" "f" "h" "holes" "l"; their names follow at 84.
    assert_eq!(
        fault(&|entries| entries[8] = 0),
        (ROOT, "has an impossible first name offset")
    );
    assert_eq!(
        fault(&|entries| entries[8] = 13),
        (ROOT, "has an impossible first name offset")
    );
    assert_eq!(
        fault(&|entries| entries[9] = 0xff),
        (ROOT, "has an impossible first name offset")
    );
    assert_eq!(
        fault(&|entries| entries[3 * 12 + 8] = 80),
        (ROOT, "has name offsets out of order")
    );
    assert_eq!(
        fault(&|entries| entries[4 * 12 + 8] = entries[3 * 12 + 8]),
        (ROOT, "has an impossible name")
    );
    assert_eq!(
        fault(&|entries| entries[84 + 3] = b'z'),
        (ROOT, "has names out of order")
    );
    assert_eq!(
        fault(&|entries| entries[84 + 5] = b'/'),
        (ROOT, "has names out of order")
    );
    assert_eq!(
        fault(&|entries| entries[84 + 7] = b'/'),
        (ROOT, "has an impossible name")
    );
    assert_eq!(
        fault(&|entries| entries[0] = 5),
        (ROOT, "has a '.' or '..' that leads elsewhere")
    );
}

#[test]
fn a_directory_has_one_name() {
    // "/d/e" becomes a second name of "/d".
    let mut image = Bytes::sample();
    let directory = image.child(ROOT, b"d");
    let entries = image.entries(directory).start;
    image.bytes[entries + 24..entries + 32].copy_from_slice(&directory.to_le_bytes());
    assert_eq!(image.fault(), (directory, "is a directory with two names"));

    let mut image = Bytes::sample();
    image.inode(directory, |inode| inode.size = 0.into());
    assert_eq!(
        image.fault(),
        (directory, "is a directory without '.' or '..'")
    );
}

#[test]
fn inline_data_stay_in_their_block() {
    let mut image = Bytes::sample();
    image.inode(ROOT, |inode| inode.size = 4095.into());
    assert_eq!(
        image.fault(),
        (ROOT, "has inline data that cross a block boundary")
    );

    let mut image = Bytes::sample();
    image.inode(ROOT, |inode| {
        inode.format = (LAYOUT_CHUNKS << 1 | FORMAT_EXTENDED).into()
    });
    assert_eq!(
        image.fault(),
        (ROOT, "has a data layout that is not supported")
    );
}

#[test]
fn attributes_are_checked() {
    let sample = Bytes::sample();
    let file = sample.child(ROOT, b"f");
    let body = sample.offset(file) + INODE_SIZE as usize;
    let fault = |change: &dyn Fn(&mut [u8])| {
        let mut image = Bytes::sample();
        change(&mut image.bytes[body..]);
        let (nid, reason) = image.fault();
        assert_eq!(nid, file);
        reason
    };
    // A header of 12 bytes, then name length, prefix, value size and "a" "value".
    assert_eq!(fault(&|body| body[4] = 1), "refers to shared attributes");
    assert_eq!(fault(&|body| body[12] = 200), "ends inside an entry");
    assert_eq!(fault(&|body| body[15] = 1), "ends inside an entry");
    assert_eq!(fault(&|body| body[13] = 9), "has an unknown prefix");
    assert_eq!(fault(&|body| body[16] = 0), "has an invalid name");
    assert_eq!(fault(&|body| body[12] = 0), "has an invalid name");
}

#[test]
fn nodes_that_share_bytes_cannot_multiply_an_image() {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at_start(&Bytes::sample().bytes);
    let mut image = Image::open(file).unwrap();
    let length = image.bytes.length();
    let blocks = image.blocks();
    let mut nodes = super::node::Nodes::new(&mut image.bytes, &image.superblock, blocks, 0);
    nodes.take(0, length).unwrap();
    assert!(matches!(nodes.take(0, 1), Err(ReadError::SharedBytes)));
}

proptest! {
    /// The fuzz target `erofs_read` does the same for longer.
    #[test]
    fn no_change_makes_the_reader_panic(changes in vec((0..40_000usize, any::<u8>()), 1..12)) {
        let mut image = Bytes::sample();
        for (position, value) in changes {
            image.bytes[SUPERBLOCK_OFFSET as usize + position] = value;
        }
        image.superblock(|superblock| superblock.magic = MAGIC.into());
        let _ = image.check();
    }
}
