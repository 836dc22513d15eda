use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;

use rustix::io::ReadWriteFlags;
use vm_memory::{FileOffset, GuestAddress, GuestMemoryMmap};

use super::*;
use crate::memory::{Memory, MemoryError, Span};

const PAGE: u64 = 4096;
/// Where the window begins: right behind the RAM.
const WINDOW: u64 = 16 * PAGE;
const PLAIN: ReadWriteFlags = ReadWriteFlags::empty();

fn file(content: &[u8]) -> File {
    use std::io::Write;
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    file
}

fn content(file: &File) -> Vec<u8> {
    use std::io::Seek;
    let mut file = file.try_clone().unwrap();
    file.rewind().unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    bytes
}

fn mapping(file: &File, pages: u64, prot: i32) -> Arc<dyn Mapping> {
    let from = FileOffset::new(file.try_clone().unwrap(), 0);
    let size = (pages * PAGE) as usize;
    Arc::new(MmapRegion::build(Some(from), size, prot, libc::MAP_SHARED).unwrap())
}

const READ: i32 = libc::PROT_READ;
const BOTH: i32 = libc::PROT_READ | libc::PROT_WRITE;

/// A guest with RAM and behind it one window onto `file`.
fn guest(file: &File, pages: u64, prot: i32) -> (Memory, Arc<Windows>) {
    let ram = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), WINDOW as usize)]).unwrap();
    let windows = Arc::new(Windows::new());
    windows.add(WINDOW, mapping(file, pages, prot)).unwrap();
    (
        Memory::with_windows(Arc::new(ram), Arc::clone(&windows)),
        windows,
    )
}

fn span(addr: u64, len: u32) -> [Span; 1] {
    [Span { addr, len }]
}

#[test]
fn a_file_is_written_from_a_window_and_read_into_one() {
    let image = file(&[b'i'; 2 * PAGE as usize]);
    let (memory, _) = guest(&image, 2, BOTH);
    let disk = file(b"....");
    let data = memory.data(&span(WINDOW + 100, 3), 0, 3, false).unwrap();
    assert_eq!(data.write_at(disk.as_fd(), 1, PLAIN).unwrap(), 3);
    assert_eq!(content(&disk), b".iii");

    let data = memory.data(&span(WINDOW + PAGE, 4), 0, 4, true).unwrap();
    assert_eq!(data.read_at(disk.as_fd(), 0, PLAIN).unwrap(), 4);
    assert_eq!(&content(&image)[PAGE as usize..][..5], b".iiii");
}

#[test]
fn a_buffer_may_begin_in_ram_and_end_in_a_window() {
    let image = file(&[b'i'; PAGE as usize]);
    let (memory, windows) = guest(&image, 1, READ);
    windows
        .add(WINDOW + PAGE, mapping(&file(&[b'j'; 4096]), 1, READ))
        .unwrap();
    memory.copy_in(&span(WINDOW - 2, 2), 0, b"rr").unwrap();
    let len = 2 + PAGE as u32 + 1;
    let data = memory
        .data(&span(WINDOW - 2, len), 0, len.into(), false)
        .unwrap();
    assert_eq!(data.iovecs().len(), 3);
    let disk = file(b"");
    assert_eq!(data.write_at(disk.as_fd(), 0, PLAIN).unwrap(), len as usize);
    let written = content(&disk);
    assert_eq!(&written[..3], b"rri");
    assert_eq!(&written[len as usize - 2..], b"ij");
}

#[test]
fn nothing_is_copied_to_or_from_a_window() {
    let image = file(&[b'i'; PAGE as usize]);
    let (memory, _) = guest(&image, 1, BOTH);
    for addr in [WINDOW, WINDOW - 4] {
        let spans = span(addr, 8);
        assert!(matches!(
            memory.copy_in(&spans, 0, &[1; 8]),
            Err(MemoryError::OutOfRange { len: 8, .. })
        ));
        assert!(matches!(
            memory.copy_out(&spans, 0, &mut [0; 8]),
            Err(MemoryError::OutOfRange { len: 8, .. })
        ));
    }
    assert_eq!(content(&image), [b'i'; PAGE as usize]);
}

#[test]
fn a_read_only_window_is_no_target() {
    let image = file(&[b'i'; PAGE as usize]);
    let (memory, _) = guest(&image, 1, READ);
    let error = memory.data(&span(WINDOW - 1, 2), 0, 2, true).err().unwrap();
    assert!(
        matches!(error, MemoryError::ReadOnly { addr, len: 2 } if addr == WINDOW - 1),
        "{error}"
    );
    memory.data(&span(WINDOW - 1, 2), 0, 2, false).unwrap();
}

#[test]
fn beyond_the_end_of_the_file_the_kernel_stops() {
    let image = file(&[b'i'; 2 * PAGE as usize]);
    let (memory, _) = guest(&image, 2, BOTH);
    image.set_len(PAGE).unwrap();
    let disk = file(&[b'd'; 16]);
    let fault = |result: std::io::Result<usize>| result.unwrap_err().raw_os_error();
    let gone = memory.data(&span(WINDOW + PAGE, 8), 0, 8, false).unwrap();
    assert_eq!(
        fault(gone.write_at(disk.as_fd(), 0, PLAIN)),
        Some(libc::EFAULT)
    );
    let gone = memory.data(&span(WINDOW + PAGE, 8), 0, 8, true).unwrap();
    assert_eq!(
        fault(gone.read_at(disk.as_fd(), 0, PLAIN)),
        Some(libc::EFAULT)
    );
    // What is there is served.
    let edge = memory
        .data(&span(WINDOW + PAGE - 4, 8), 0, 8, true)
        .unwrap();
    assert_eq!(edge.read_at(disk.as_fd(), 0, PLAIN).unwrap(), 4);
    assert_eq!(content(&disk), [b'd'; 16]);
}

#[test]
fn a_request_goes_on_where_a_call_stopped() {
    let image = file(&[b'i'; PAGE as usize]);
    let (memory, _) = guest(&image, 1, READ);
    memory.copy_in(&span(WINDOW - 4, 4), 0, b"abcd").unwrap();
    let spans = [span(WINDOW - 4, 3)[0], span(WINDOW - 1, 3)[0]];
    let mut data = memory.data(&spans, 0, 6, false).unwrap();
    data.advance(2);
    assert_eq!((data.len(), data.iovecs().len()), (4, 3));
    data.advance(1);
    assert_eq!((data.len(), data.iovecs().len()), (3, 2));
    let disk = file(b"");
    assert_eq!(data.write_at(disk.as_fd(), 0, PLAIN).unwrap(), 3);
    assert_eq!(content(&disk), b"dii");
    data.advance(9);
    assert!(data.is_empty() && data.iovecs().is_empty());
}

#[test]
fn a_request_keeps_its_window_when_that_is_taken_away() {
    let image = file(&[b'i'; PAGE as usize]);
    let (memory, windows) = guest(&image, 1, READ);
    let data = memory.data(&span(WINDOW, 8), 0, 8, false).unwrap();
    drop(windows.remove(WINDOW).unwrap());
    assert!(windows.remove(WINDOW).is_none());
    assert!(matches!(
        memory.data(&span(WINDOW, 8), 0, 8, false),
        Err(MemoryError::OutOfRange { .. })
    ));
    let disk = file(b"");
    assert_eq!(data.write_at(disk.as_fd(), 0, PLAIN).unwrap(), 8);
    // And its place is free for another.
    windows.add(WINDOW, mapping(&image, 1, READ)).unwrap();
}

#[test]
fn windows_do_not_overlap_and_do_not_wrap() {
    let image = file(&[0; PAGE as usize]);
    let windows = Windows::new();
    let add = |addr, pages| windows.add(addr, mapping(&image, pages, READ));
    add(4 * PAGE, 2).unwrap();
    let overlap = |addr, pages: u64| WindowError::Overlap {
        addr,
        len: pages * PAGE,
        other: 4 * PAGE,
    };
    assert_eq!(add(3 * PAGE, 2), Err(overlap(3 * PAGE, 2)));
    assert_eq!(add(3 * PAGE, 4), Err(overlap(3 * PAGE, 4)));
    assert_eq!(add(4 * PAGE, 2), Err(overlap(4 * PAGE, 2)));
    assert_eq!(add(5 * PAGE, 1), Err(overlap(5 * PAGE, 1)));
    add(3 * PAGE, 1).unwrap();
    add(6 * PAGE, 1).unwrap();
    assert_eq!(
        add(u64::MAX - PAGE + 1, 1),
        Err(WindowError::Range {
            addr: u64::MAX - PAGE + 1,
            len: PAGE
        })
    );
    assert!(windows.find(2 * PAGE + 4095).is_none());
    assert_eq!(windows.find(5 * PAGE + 1).unwrap().rest, PAGE - 1);
    assert!(windows.find(7 * PAGE).is_none());
}
