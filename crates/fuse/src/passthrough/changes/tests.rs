use super::fanotify::{Event, events};
use crate::passthrough::identity::Handle;

/// An event as the kernel writes it: `struct fanotify_event_metadata` and one record.
fn written(mask: u64, pid: u32, kind: u8, handle: &[u8], name: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 0, 0, 0];
    record.extend([7; 8]);
    record.extend((handle.len() as u32).to_ne_bytes());
    record.extend(1u32.to_ne_bytes());
    record.extend(handle);
    record.extend(name);
    record.resize(record.len().next_multiple_of(4), 0);
    let len = record.len() as u16;
    record[2..4].copy_from_slice(&len.to_ne_bytes());
    let mut event = Vec::new();
    event.extend((24 + u32::from(len)).to_ne_bytes());
    event.extend([libc::FANOTIFY_METADATA_VERSION, 0]);
    event.extend(24u16.to_ne_bytes());
    event.extend(mask.to_ne_bytes());
    event.extend((-1i32).to_ne_bytes());
    event.extend(pid.to_ne_bytes());
    event.extend(record);
    event
}

const NAMED: u8 = libc::FAN_EVENT_INFO_TYPE_DFID_NAME;

#[test]
fn events_are_read_one_after_the_other() {
    let me = std::process::id();
    let mut bytes = written(libc::FAN_MODIFY, 0, NAMED, &[1; 8], b"file\0");
    bytes.extend(written(
        libc::FAN_MOVED_FROM,
        me,
        NAMED,
        &[2; 12],
        b"longer name\0",
    ));
    let read: Vec<_> = events(&bytes).collect();
    let expected = [
        Event::In {
            directory: Handle::new(1, &[1; 8]),
            name: c"file",
            listing: false,
            left: false,
            own: false,
        },
        Event::In {
            directory: Handle::new(1, &[2; 12]),
            name: c"longer name",
            listing: true,
            left: true,
            own: true,
        },
    ];
    assert_eq!(read, expected);
}

#[test]
fn an_overflow_is_told() {
    let bytes = written(libc::FAN_Q_OVERFLOW, 0, NAMED, &[], b"\0");
    assert_eq!(events(&bytes).collect::<Vec<_>>(), [Event::Overflow]);
}

#[test]
fn what_is_not_understood_counts_as_an_overflow() {
    let whole = written(libc::FAN_CREATE, 0, NAMED, &[1; 8], b"file\0");
    for end in 1..whole.len() {
        let read: Vec<_> = events(&whole[..end]).collect();
        assert_eq!(read, [Event::Overflow], "{end} bytes of it");
    }
    let mut other_version = whole.clone();
    other_version[4] += 1;
    let mut no_length = whole.clone();
    no_length[..4].fill(0);
    let mut long_handle = whole.clone();
    long_handle[24 + 12..][..4].fill(0xff);
    let other_record = written(libc::FAN_CREATE, 0, NAMED + 1, &[1; 8], b"file\0");
    let no_end = written(libc::FAN_CREATE, 0, NAMED, &[1; 8], b"name");
    for bytes in [other_version, no_length, long_handle, other_record, no_end] {
        assert_eq!(events(&bytes).collect::<Vec<_>>(), [Event::Overflow]);
    }
}
