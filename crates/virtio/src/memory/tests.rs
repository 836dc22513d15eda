use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use proptest::prelude::*;

use super::data::MAX_PIECES;
use super::*;

const KIB: u64 = 1024;

/// RAM at 0..64 KiB and at 128..192 KiB: the hole between them belongs to nobody.
fn with_hole() -> Memory {
    let ranges = [
        (GuestAddress(0), 64 << 10),
        (GuestAddress(128 * KIB), 64 << 10),
    ];
    Memory::new(Arc::new(GuestMemoryMmap::from_ranges(&ranges).unwrap()))
}

#[test]
fn copies_go_through_all_spans_from_the_offset() {
    let memory = with_hole();
    let spans = [
        Span { addr: 10, len: 3 },
        Span { addr: 100, len: 0 },
        Span {
            addr: 140 * KIB,
            len: 5,
        },
    ];
    memory.copy_in(&spans, 2, b"abcdef").unwrap();
    let mut out = [0; 5];
    memory.copy_out(&spans, 3, &mut out).unwrap();
    assert_eq!(&out, b"bcdef");
    memory
        .copy_out(&[Span { addr: 12, len: 1 }], 0, &mut out[..1])
        .unwrap();
    assert_eq!(out[0], b'a');
}

#[test]
fn a_span_in_the_hole_or_across_its_edge_is_out_of_range() {
    let memory = with_hole();
    for addr in [
        64 * KIB,
        100 * KIB,
        64 * KIB - 4,
        128 * KIB - 4,
        192 * KIB - 4,
        u64::MAX - 3,
    ] {
        let spans = [Span { addr, len: 8 }];
        let error = memory.copy_in(&spans, 0, &[1; 8]).unwrap_err();
        assert!(
            matches!(error, MemoryError::OutOfRange { addr: a, len: 8 } if a == addr),
            "{error}"
        );
        assert!(matches!(
            memory.copy_out(&spans, 0, &mut [0; 8]),
            Err(MemoryError::OutOfRange { .. })
        ));
        assert!(matches!(
            memory.data(&spans, 0, 8, false),
            Err(MemoryError::OutOfRange { .. })
        ));
    }
}

#[test]
fn more_than_the_spans_hold_is_too_short() {
    let memory = with_hole();
    let spans = [Span { addr: 0, len: 8 }];
    let error = memory.copy_out(&spans, 4, &mut [0; 5]).unwrap_err();
    assert!(
        matches!(error, MemoryError::TooShort { have: 4, need: 5 }),
        "{error}"
    );
    assert!(matches!(
        memory.data(&spans, 9, 1, true),
        Err(MemoryError::TooShort { have: 0, need: 1 })
    ));
}

#[test]
fn data_moves_between_guest_memory_and_a_socket() {
    let memory = with_hole();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    memory
        .copy_in(&[Span { addr: 0, len: 6 }], 0, b"..out!")
        .unwrap();
    let spans = [Span { addr: 0, len: 4 }, Span { addr: 4, len: 2 }];
    assert_eq!(
        memory
            .data(&spans, 2, 4, false)
            .unwrap()
            .send_to(ours.as_fd())
            .unwrap(),
        4
    );
    let mut got = [0; 4];
    theirs.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"out!");

    theirs.write_all(b"in").unwrap();
    let mut data = memory.data(&spans, 3, 3, true).unwrap();
    assert_eq!(data.len(), 3);
    assert_eq!(data.receive_from(ours.as_fd()).unwrap(), 2);
    let mut back = [0; 6];
    memory
        .copy_out(&[Span { addr: 0, len: 6 }], 0, &mut back)
        .unwrap();
    assert_eq!(&back, b"..oin!");
    assert_eq!(
        data.receive_from(ours.as_fd()).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
    drop(theirs);
    assert_eq!(data.receive_from(ours.as_fd()).unwrap(), 0);
}

#[test]
fn pieces_of_our_own_go_along_with_those_of_the_guest() {
    let memory = with_hole();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let span = [Span { addr: 0, len: 4 }];
    memory.copy_in(&span, 0, b"body").unwrap();
    let mut data = Data::default();
    for head in [b"one:", b"two:"] {
        assert!(data.add_bytes(head));
        assert!(data.append(memory.data(&span, 0, 4, false).unwrap()));
    }
    data.advance(3);
    assert_eq!(data.len(), 13);
    assert_eq!(data.send_to(ours.as_fd()).unwrap(), 13);
    let mut got = [0; 13];
    theirs.read_exact(&mut got).unwrap();
    assert_eq!(&got, b":bodytwo:body");
    theirs.write_all(b"xx").unwrap();
    let refused = data.receive_from(ours.as_fd()).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(libc::EFAULT));

    let mut room = [0; 4];
    let mut data = memory.data(&span, 3, 1, true).unwrap();
    assert!(data.add_buffer(&mut room));
    assert_eq!(data.receive_from(ours.as_fd()).unwrap(), 2);
    drop(data);
    assert_eq!(&room, b"x\0\0\0");
    let mut body = [0; 4];
    memory.copy_out(&span, 0, &mut body).unwrap();
    assert_eq!(&body, b"bodx");
}

#[test]
fn pieces_are_added_whole_or_not_at_all() {
    let memory = with_hole();
    let spans: Vec<Span> = (0..1000).map(|addr| Span { addr, len: 1 }).collect();
    let mut data = memory.data(&spans, 0, 1000, false).unwrap();
    assert!(!data.append(memory.data(&spans, 0, 25, false).unwrap()));
    assert_eq!(data.len(), 1000);
    assert!(data.append(memory.data(&spans, 0, 24, false).unwrap()));
    assert_eq!(data.len(), MAX_PIECES as u64);
}

#[test]
fn more_pieces_than_a_system_call_takes_are_served_in_part() {
    let memory = with_hole();
    let spans: Vec<Span> = (0..2000).map(|i| Span { addr: i, len: 1 }).collect();
    assert_eq!(
        memory.data(&spans, 0, 2000, false).unwrap().len(),
        MAX_PIECES as u64
    );
}

#[test]
fn a_page_that_is_gone_is_an_error_of_the_call() {
    // A file that becomes shorter below a mapping: touching the page would be a SIGBUS.
    let file = tempfile::tempfile().unwrap();
    file.set_len(8192).unwrap();
    let offset = vm_memory::FileOffset::new(file.try_clone().unwrap(), 0);
    let ram =
        GuestMemoryMmap::from_ranges_with_files([(GuestAddress(0), 8192, Some(offset))]).unwrap();
    let memory = Memory::new(Arc::new(ram));
    file.set_len(0).unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    theirs.write_all(b"x").unwrap();
    let spans = [Span {
        addr: 4096,
        len: 16,
    }];
    let sent = memory
        .data(&spans, 0, 16, false)
        .unwrap()
        .send_to(ours.as_fd());
    assert_eq!(sent.unwrap_err().raw_os_error(), Some(libc::EFAULT));
    let received = memory
        .data(&spans, 0, 16, true)
        .unwrap()
        .receive_from(ours.as_fd());
    assert_eq!(received.unwrap_err().raw_os_error(), Some(libc::EFAULT));
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        lens in prop::collection::vec(0u32..40, 1..12),
        skip in 0u64..100,
        bytes in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let memory = with_hole();
        let spans: Vec<Span> =
            lens.iter().enumerate().map(|(i, len)| Span { addr: i as u64 * 64, len: *len }).collect();
        let fits = skip + bytes.len() as u64 <= total_len(&spans);
        let room = total_len(&spans) >= skip;
        let result = memory.copy_in(&spans, skip, &bytes);
        prop_assert_eq!(result.is_ok(), fits || (bytes.is_empty() && !room));
        if fits {
            let mut out = vec![0; bytes.len()];
            memory.copy_out(&spans, skip, &mut out).unwrap();
            prop_assert_eq!(&out, &bytes);
            prop_assert_eq!(memory.data(&spans, skip, bytes.len() as u64, false).unwrap().len(), bytes.len() as u64);
        }
    }
}
