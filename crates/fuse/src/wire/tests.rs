//! Messages, well-formed and with one thing broken.

use std::ffi::CStr;

use proptest::prelude::*;
use rustix::io::Errno;
use zerocopy::{FromZeros, IntoBytes};

use super::*;

/// A message of `parts`, with a true length.
fn message(opcode: u32, parts: &[&[u8]]) -> Vec<u8> {
    let mut header = InHeader::new_zeroed();
    header.opcode = opcode;
    header.len = (size_of::<InHeader>() + parts.concat().len()) as u32;
    [header.as_bytes(), &parts.concat()].concat()
}

fn parse(opcode: Opcode, parts: &[&[u8]]) -> Result<(), BadRequest> {
    Request::parse(&message(opcode as u32, parts), 0).map(|_| ())
}

fn set_length(message: &mut [u8], len: u32) {
    message[..4].copy_from_slice(&len.to_ne_bytes());
}

#[test]
fn layouts_are_the_kernels() {
    assert_eq!(size_of::<InHeader>(), 40);
    assert_eq!(size_of::<OutHeader>(), 16);
    assert_eq!(size_of::<InitIn>(), 64);
    assert_eq!(size_of::<InitOut>(), 64);
    assert_eq!(size_of::<Attr>(), 88);
    assert_eq!(size_of::<EntryOut>(), 128);
    assert_eq!(size_of::<AttrOut>(), 104);
    assert_eq!(size_of::<SetattrIn>(), 88);
    assert_eq!(size_of::<Statx>(), 256);
    assert_eq!(size_of::<StatxOut>(), 288);
    assert_eq!(size_of::<WriteIn>(), 40);
    assert_eq!(size_of::<ReadIn>(), 40);
    assert_eq!(size_of::<LkIn>(), 48);
    assert_eq!(size_of::<StatfsOut>(), 80);
    assert_eq!(size_of::<SetupmappingIn>(), 40);
    assert_eq!(size_of::<CopyFileRangeIn>(), 56);
    assert_eq!(size_of::<Dirent>(), 24);
}

#[test]
fn operations_have_distinct_numbers() {
    for opcode in Opcode::ALL {
        assert_eq!(Opcode::from_number(*opcode as u32), Some(*opcode));
    }
    assert_eq!(Opcode::from_number(7), None);
    assert_eq!(Opcode::from_number(u32::MAX), None);
}

#[test]
fn a_lookup_is_read() {
    let message = message(1, &[b"name\0"]);
    let request = Request::parse(&message, 0).unwrap();
    let name = Name::new(c"name").unwrap();
    assert_eq!(request.operation, Operation::Lookup(name));
}

#[test]
fn two_names_are_read() {
    let mut arguments = Rename2In::new_zeroed();
    arguments.newdir = 7;
    let message = message(45, &[arguments.as_bytes(), b"old\0new\0"]);
    let request = Request::parse(&message, 0).unwrap();
    assert_eq!(
        request.operation,
        Operation::Rename(
            arguments,
            Name::new(c"old").unwrap(),
            Name::new(c"new").unwrap()
        )
    );
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let long = [&[b'x'; 1025][..], b"\0"].concat();
    for (name, bad) in [
        (&b"..\0"[..], BadName::Dots),
        (b".\0", BadName::Dots),
        (b"a/b\0", BadName::Slash),
        (b"/\0", BadName::Slash),
        (b"\0", BadName::Empty),
        (b"unended", BadName::Unended),
        (&long, BadName::Long(1025)),
    ] {
        assert_eq!(parse(Opcode::Lookup, &[name]), Err(bad.into()));
        assert_eq!(parse(Opcode::Unlink, &[name]), Err(bad.into()));
        let mode = MkdirIn::new_zeroed();
        assert_eq!(
            parse(Opcode::Mkdir, &[mode.as_bytes(), name]),
            Err(bad.into())
        );
    }
    assert_eq!(
        BadRequest::from(BadName::Long(1025)).errno(),
        Errno::NAMETOOLONG
    );
}

#[test]
fn a_name_with_a_zero_byte_leaves_something_over() {
    assert_eq!(
        parse(Opcode::Lookup, &[b"a\0b\0"]),
        Err(BadRequest::Left(2))
    );
}

#[test]
fn a_link_may_point_anywhere() {
    assert_eq!(parse(Opcode::Symlink, &[b"l\0../../etc\0"]), Ok(()));
    assert_eq!(
        parse(Opcode::Symlink, &[b"l\0\0"]),
        Err(BadName::Empty.into())
    );
}

#[test]
fn lengths_that_lie_are_refused() {
    let mut lying = message(1, &[b"name\0"]);
    let have = lying.len();
    for said in [0, 39, 44, 46, u32::MAX] {
        set_length(&mut lying, said);
        assert_eq!(
            Request::parse(&lying, 0),
            Err(BadRequest::Length { said, have })
        );
    }
}

#[test]
fn data_must_be_as_long_as_they_say() {
    let mut arguments = WriteIn::new_zeroed();
    arguments.size = 5;
    let mut head = message(16, &[arguments.as_bytes()]);
    set_length(&mut head, (WRITE_HEAD + 4) as u32);
    assert_eq!(
        Request::parse(&head, 4),
        Err(BadRequest::Data { said: 5, have: 4 })
    );
    set_length(&mut head, (WRITE_HEAD + 5) as u32);
    assert!(Request::parse(&head, 5).is_ok());
    assert_eq!(
        Request::parse(&head, usize::MAX),
        Err(BadRequest::Length {
            said: 85,
            have: usize::MAX
        })
    );
}

#[test]
fn only_a_write_has_data() {
    let mut head = message(5, &[]);
    set_length(&mut head, 41);
    assert_eq!(Request::parse(&head, 1), Err(BadRequest::Left(1)));
}

#[test]
fn extensions_must_fit() {
    let mut message = message(1, &[b"abcdefg\0", &[0; 8]]);
    message[36..38].copy_from_slice(&1u16.to_ne_bytes());
    assert!(Request::parse(&message, 0).is_ok());
    message[36..38].copy_from_slice(&3u16.to_ne_bytes());
    assert_eq!(
        Request::parse(&message, 0),
        Err(BadRequest::Extensions { said: 24, have: 16 })
    );
}

#[test]
fn more_items_than_sent_are_refused() {
    let count = BatchForgetIn {
        count: u32::MAX,
        dummy: 0,
    };
    assert_eq!(
        parse(Opcode::BatchForget, &[count.as_bytes(), &[0; 16]]),
        Err(BadRequest::Short {
            want: u32::MAX as usize * 16,
            have: 16
        })
    );
}

#[test]
fn an_older_client_says_less_at_the_beginning() {
    let offer = InitIn {
        major: 7,
        minor: 31,
        max_readahead: 1,
        flags: 2,
        flags2: 0,
        unused: [0; 11],
    };
    let bytes = offer.as_bytes();
    let short = message(26, &[&bytes[..InitIn::SHORT]]);
    let request = Request::parse(&short, 0).unwrap();
    assert_eq!(request.operation, Operation::Init(offer));
    assert_eq!(
        parse(Opcode::Init, &[&bytes[..12]]),
        Err(BadRequest::Short { want: 64, have: 12 })
    );
    assert_eq!(parse(Opcode::Init, &[bytes, &[1; 8]]), Ok(()));
}

#[test]
fn unknown_operations_are_said_to_be_unknown() {
    let message = message(7, &[]);
    let bad = Request::parse(&message, 0).unwrap_err();
    assert_eq!(bad, BadRequest::Opcode(7));
    assert_eq!(bad.errno(), Errno::NOSYS);
    assert_eq!(Request::parse(&[0; 39], 0), Err(BadRequest::NoHeader(39)));
}

proptest! {
    #[test]
    fn no_bytes_panic(opcode in 0u32..60, body in prop::collection::vec(any::<u8>(), 0..200), data in 0usize..10) {
        let mut message = message(opcode, &[&body]);
        let len = (message.len() + data) as u32;
        set_length(&mut message, len);
        let _ = Request::parse(&message, data);
    }

    /// A name that is taken can never be a way: it has no slash and is not a dot or two.
    #[test]
    fn names_are_no_ways(bytes in prop::collection::vec(prop::sample::select(b"./a\0".to_vec()), 0..6)) {
        let mut bytes = bytes;
        bytes.push(0);
        let text = CStr::from_bytes_until_nul(&bytes).unwrap();
        if let Ok(name) = Name::new(text) {
            let way = std::path::Path::new(std::str::from_utf8(name.as_c_str().to_bytes()).unwrap());
            prop_assert_eq!(way.components().count(), 1);
            prop_assert!(matches!(way.components().next(), Some(std::path::Component::Normal(_))));
        }
    }
}
