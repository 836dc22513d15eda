use super::*;
use proptest::prelude::*;

/// Entries and their data until the end or the first error; a reader that loops would never return.
fn read_all(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, TarError> {
    let mut archive = Archive::new(bytes);
    let mut entries = Vec::new();
    while let Some(entry) = archive.next_entry()? {
        let mut data = Vec::new();
        archive
            .data()
            .read_to_end(&mut data)
            .map_err(TarError::from_read)?;
        entries.push((entry, data));
    }
    Ok(entries)
}

/// A header with a valid checksum.
fn header(kind: u8, name: &str, size: u64) -> [u8; BLOCK] {
    let mut header = ::tar::Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(::tar::EntryType::new(kind));
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size);
    header.set_cksum();
    *header.as_bytes()
}

/// Gives a changed header its checksum.
fn signed(mut block: [u8; BLOCK]) -> [u8; BLOCK] {
    let mut header = ::tar::Header::from_byte_slice(&block).clone();
    header.set_cksum();
    block.copy_from_slice(header.as_bytes());
    block
}

fn padded(data: &[u8]) -> Vec<u8> {
    let mut data = data.to_vec();
    data.resize(data.len().next_multiple_of(BLOCK), 0);
    data
}

/// A pax record with its own length in front.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
    let mut length = rest.len() + 1;
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    [length.to_string().as_bytes(), &rest].concat()
}

/// An entry with these pax records and this data.
fn with_pax(records: &[u8], kind: u8, data: &[u8]) -> Vec<u8> {
    [
        &header(b'x', "pax", records.len() as u64)[..],
        &padded(records),
        &header(kind, "name", data.len() as u64),
        &padded(data),
    ]
    .concat()
}

fn only(bytes: &[u8]) -> Entry {
    let entries = read_all(bytes).unwrap();
    assert_eq!(entries.len(), 1);
    entries.into_iter().next().unwrap().0
}

#[test]
fn numbers_are_octal_or_binary() {
    assert_eq!(parse_number(b"0000644\0"), Some(0o644));
    assert_eq!(parse_number(b"   644 \0"), Some(0o644));
    assert_eq!(parse_number(b"\0\0\0\0\0\0\0\0"), Some(0));
    assert_eq!(parse_number(b"77777777777\0"), Some(0o77777777777));
    assert_eq!(parse_number(b"\x80\0\0\0\0\0\x01\0"), Some(256));
    assert_eq!(parse_number(b"\xff\xff\xff\xff\xff\xff\xff\xff"), Some(-1));
    assert_eq!(parse_number(b"\x80\0\0\0\x80\0\0\0\0\0\0\0"), None);
    assert_eq!(parse_number(b"0000689\0"), None);
    assert_eq!(parse_number(b"-000644\0"), None);
}

#[test]
fn pax_records_override_the_header() {
    let records = [
        record("path", "\u{e4}/b".as_bytes()),
        record("uid", b"4294967294"),
        record("mtime", b"-1.5"),
        record("SCHILY.xattr.user.x", b"a=b\n3 c=\n"),
        record("SCHILY.xattr.security.capability", b"\0\n\xff"),
    ]
    .concat();
    let entry = only(&with_pax(&records, b'0', b"data"));
    assert_eq!(entry.path, "\u{e4}/b".as_bytes());
    assert_eq!(entry.uid, 4_294_967_294);
    let half_before = Timestamp {
        seconds: -2,
        nanoseconds: 500_000_000,
    };
    assert_eq!(entry.mtime, half_before);
    assert_eq!(
        entry.xattrs,
        [
            (b"user.x".to_vec(), b"a=b\n3 c=\n".to_vec()),
            (b"security.capability".to_vec(), b"\0\n\xff".to_vec()),
        ]
    );
}

#[test]
fn what_pax_gets_wrong_is_refused() {
    for records in [
        &b"5 a=b\n"[..],
        b"99 a=b\n",
        b"7 a b\nx",
        b"x a=b\n",
        b"18446744073709551616 a=b\n",
        &record("size", b"ten"),
        &record("uid", b"4294967296"),
        &record("mtime", b"1.x"),
        &record("mtime", b"9223372036854775808"),
    ] {
        let error = read_all(&with_pax(records, b'0', b"")).unwrap_err();
        assert!(
            matches!(error, TarError::Pax { offset: 0, .. }),
            "{error:?}"
        );
    }
    let long = record(&format!("SCHILY.xattr.user.{}", "x".repeat(251)), b"");
    let error = read_all(&with_pax(&long, b'0', b"")).unwrap_err();
    assert!(
        matches!(
            error,
            TarError::TooLong {
                what: "xattr name",
                size: 256,
                ..
            }
        ),
        "{error:?}"
    );
    let large = record("SCHILY.xattr.user.x", &[0; MAX_XATTR_VALUE + 1]);
    let error = read_all(&with_pax(&large, b'0', b"")).unwrap_err();
    assert!(
        matches!(
            error,
            TarError::TooLong {
                what: "xattr value",
                ..
            }
        ),
        "{error:?}"
    );
    let error = read_all(&with_pax(&record("path", b"a\0b"), b'0', b"")).unwrap_err();
    assert!(
        matches!(error, TarError::Name { what: "name", .. }),
        "{error:?}"
    );
    let error = read_all(&header(b'x', "pax", MAX_EXTENSION + 1)).unwrap_err();
    assert!(
        matches!(
            error,
            TarError::TooLong {
                what: "extension header",
                ..
            }
        ),
        "{error:?}"
    );
}

#[test]
fn sparse_maps_that_lie_are_refused() {
    let refused = |map: &[u8], size: &[u8], data: &[u8]| {
        let records = [
            record("GNU.sparse.map", map),
            record("GNU.sparse.size", size),
        ]
        .concat();
        read_all(&with_pax(&records, b'0', data)).unwrap_err()
    };
    for (map, size, data) in [
        (&b"0,4"[..], &b"2"[..], &b"data"[..]),
        (b"0,2,1,2", b"9", b"data"),
        (b"4,2,0,2", b"9", b"data"),
        (b"0,5", b"9", b"data"),
        (b"0,3", b"9", b"data"),
        (b"0", b"9", b"data"),
        (b"18446744073709551615,4", b"9", b"data"),
        (b"0,x", b"9", b"data"),
        (b"0,4", b"9223372036854775808", b"data"),
    ] {
        let error = refused(map, size, data);
        assert!(matches!(error, TarError::Sparse { .. }), "{error:?}");
    }
    let records = [
        record("GNU.sparse.major", b"1"),
        record("GNU.sparse.minor", b"0"),
        record("GNU.sparse.realsize", b"9"),
    ]
    .concat();
    for data in [
        &b"999999999\n"[..],
        b"1\n0\n",
        b"",
        b"1\n0\n123456789012345678901\n",
    ] {
        let error = read_all(&with_pax(&records, b'0', data)).unwrap_err();
        assert!(
            matches!(error, TarError::Sparse { .. }),
            "{data:?}: {error:?}"
        );
    }
}

#[test]
fn an_old_sparse_map_may_go_on_in_more_blocks() {
    let mut first = header(b'S', "sparse", 1024);
    let put = |block: &mut [u8], at: usize, number: u64| {
        block[at..at + 12].copy_from_slice(format!("{number:011o}\0").as_bytes());
    };
    put(&mut first, 386, 0);
    put(&mut first, 398, 512);
    first[482] = 1;
    put(&mut first, 483, 8192);
    let mut second = [0; BLOCK];
    put(&mut second, 0, 4096);
    put(&mut second, 12, 512);
    let archive = [&signed(first)[..], &second, &[7; 1024]].concat();
    let entry = only(&archive);
    let kind = Kind::Sparse {
        size: 8192,
        extents: vec![(0, 512), (4096, 512)],
    };
    assert_eq!(entry.kind, kind);
    let error = read_all(&archive[..700]).unwrap_err();
    assert!(matches!(error, TarError::Truncated(700)), "{error:?}");
}

#[test]
fn a_size_counts_only_where_there_is_data() {
    let link = [
        &header(b'2', "link", 700)[..],
        &header(b'0', "file", 3),
        &padded(b"abc"),
    ]
    .concat();
    let mut link = link;
    link[157] = b't';
    let first = signed(link[..BLOCK].try_into().unwrap());
    link[..BLOCK].copy_from_slice(&first);
    let entries = read_all(&link).unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[1].1, b"abc");
}

#[test]
fn an_old_directory_may_claim_to_have_data() {
    let archive = [
        &header(b'0', "folder/", 3)[..],
        &padded(b"abc"),
        &header(b'0', "file", 0),
    ]
    .concat();
    let entries = read_all(&archive).unwrap();
    assert_eq!(entries.len(), 2);
    assert_eq!(entries[0].0.kind, Kind::Directory);
}

#[test]
fn a_wrong_checksum_and_a_lone_block_of_zeros() {
    let mut broken = header(b'0', "a", 0);
    broken[0] = b'b';
    assert!(matches!(read_all(&broken), Err(TarError::Checksum(0))));
    let lone = [&[0; BLOCK][..], &header(b'0', "a", 0)].concat();
    assert!(matches!(read_all(&lone), Err(TarError::Checksum(0))));
}

/// An archive with something of everything.
fn rich_archive() -> Vec<u8> {
    let mut archive = ::tar::Builder::new(Vec::new());
    let mut header = ::tar::Header::new_gnu();
    header.set_size(3);
    archive
        .append_data(&mut header, "d/".repeat(90) + "file", &b"abc"[..])
        .unwrap();
    header.set_entry_type(::tar::EntryType::Symlink);
    header.set_size(0);
    archive
        .append_link(&mut header, "link", "t".repeat(200))
        .unwrap();
    let plain = archive.into_inner().unwrap();
    let records = [
        record("GNU.sparse.major", b"1"),
        record("GNU.sparse.minor", b"0"),
        record("GNU.sparse.name", b"sparse"),
        record("GNU.sparse.realsize", b"4096"),
        record("SCHILY.xattr.user.x", b"y"),
    ]
    .concat();
    let sparse = with_pax(
        &records,
        b'0',
        &[&padded(b"1\n1024\n3\n")[..], b"abc"].concat(),
    );
    [sparse, plain].concat()
}

proptest! {
    #[test]
    fn no_change_makes_the_reader_panic_or_invent_data(
        changes in prop::collection::vec((0..4096_usize, any::<u8>()), 0..8),
        cut in 0..8192_usize,
        resign: bool,
    ) {
        let mut bytes = rich_archive();
        for (place, value) in changes {
            if let Some(byte) = bytes.get_mut(place) {
                *byte = value;
            }
        }
        if resign {
            for block in bytes.chunks_exact_mut(BLOCK) {
                let copy = signed((&*block).try_into().unwrap());
                block[148..156].copy_from_slice(&copy[148..156]);
            }
        }
        bytes.truncate(cut);
        let length = bytes.len();
        if let Ok(entries) = read_all(&bytes) {
            let data: usize = entries.iter().map(|(_, data)| data.len()).sum();
            prop_assert!(data <= length);
        }
    }
}
