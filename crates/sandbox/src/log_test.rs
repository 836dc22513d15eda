use std::fs::{self, OpenOptions};
use std::io::Write;

use super::{MAX_LENGTH, MAX_TEXT, Reader, Stream, Writer, old};

fn bytes(reader: &mut Reader, stream: Stream) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(record) = reader.next().unwrap() {
        if record.stream == stream {
            all.extend(record.bytes);
        }
    }
    all
}

#[test]
fn bytes_come_back_as_they_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut writer = Writer::open(&path).unwrap();
    let pieces: [&[u8]; 6] = [
        b"whole line\n",
        b"be",
        b"gun\n\n",
        b"\xff\0 P F \r\n",
        b"no end",
        &[b'x'; 3 * MAX_TEXT],
    ];
    for piece in pieces {
        writer.append(Stream::Stdout, piece).unwrap();
        writer.append(Stream::Stderr, b"aside\n").unwrap();
    }
    assert_eq!(
        bytes(&mut Reader::open(&path).unwrap(), Stream::Stdout),
        pieces.concat()
    );
    assert_eq!(
        bytes(&mut Reader::open(&path).unwrap(), Stream::Stderr),
        b"aside\n".repeat(pieces.len())
    );
}

#[test]
fn a_half_written_record_is_read_when_it_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(&path)
        .unwrap();
    let mut reader = Reader::open(&path).unwrap();
    file.write_all(b"2026-01-01T00:00:00Z stdout F ha").unwrap();
    assert_eq!(reader.next().unwrap(), None);
    file.write_all(b"lf\n").unwrap();
    assert_eq!(reader.next().unwrap().unwrap().bytes, b"half\n");
}

#[test]
fn a_flood_keeps_the_newest_and_stays_within_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut writer = Writer::open(&path).unwrap();
    let chunk = b"flood\n".repeat(10_000);
    for _ in 0..120 {
        writer.append(Stream::Stdout, &chunk).unwrap();
    }
    writer.append(Stream::Stdout, b"last\n").unwrap();
    let kept = fs::metadata(&path).unwrap().len() + fs::metadata(old(&path)).unwrap().len();
    assert!(kept < 2 * MAX_LENGTH + (1 << 20), "{kept}");
    assert!(bytes(&mut Reader::open(&path).unwrap(), Stream::Stdout).ends_with(b"last\n"));
}

#[test]
fn a_line_that_is_no_record_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    for line in ["nonsense\n", "t stdin F x\n", "t stdout Q x\n"] {
        fs::write(&path, line).unwrap();
        assert!(Reader::open(&path).unwrap().next().is_err(), "{line}");
    }
    fs::write(&path, vec![b'x'; MAX_TEXT * 2]).unwrap();
    assert!(Reader::open(&path).unwrap().next().is_err());
}
