use std::io::{PipeReader, Read, Seek, pipe};

use rustix::pipe::fcntl_setpipe_size;

use super::*;

/// Output into a pipe that holds one batch.
fn narrow() -> (Output, PipeReader) {
    let (reader, writer) = pipe().unwrap();
    assert_eq!(fcntl_setpipe_size(&writer, BATCH).unwrap(), BATCH);
    (Output::new(writer.into()).unwrap(), reader)
}

/// Bytes that differ from their neighbours.
fn bytes(len: usize) -> Vec<u8> {
    (0..len).map(|i| b'a' + (i % 26) as u8).collect()
}

/// Reads to the end while the output is written on, as its worker would.
fn drain(mut output: Output, mut reader: PipeReader) -> Vec<u8> {
    let mut got = Vec::new();
    let mut chunk = [0; 1000];
    while !output.pending.is_empty() {
        let count = reader.read(&mut chunk).unwrap();
        got.extend_from_slice(&chunk[..count]);
        output.write();
    }
    drop(output);
    reader.read_to_end(&mut got).unwrap();
    got
}

#[test]
fn few_bytes_wait_for_company_and_a_batch_does_not() {
    let (mut output, mut reader) = narrow();
    output.take(b"ab");
    assert_eq!(output.pending, b"ab");
    assert!(
        output.write_when_due().is_some_and(|left| left <= LINGER) || output.pending.is_empty()
    );
    output.write();
    output.take(&bytes(BATCH - 2));
    output.take(b"cd");
    assert!(output.blocked);
    let mut got = [0; 2];
    reader.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"ab");
}

#[test]
fn nothing_waits_forever() {
    let (mut output, mut reader) = narrow();
    output.take(b"ab");
    output.since = Instant::now().checked_sub(LINGER).unwrap();
    assert_eq!(output.write_when_due(), None);
    drop(output);
    let mut got = String::new();
    reader.read_to_string(&mut got).unwrap();
    assert_eq!(got, "ab");
}

#[test]
fn a_slow_reader_gets_a_backlog_and_is_told_what_it_missed() {
    let (mut output, reader) = narrow();
    let printed = bytes(2 * BACKLOG);
    for piece in printed.chunks(100) {
        output.take(piece);
        // The guest's bytes are taken whether or not somebody reads.
        assert!(output.pending.len() <= BACKLOG);
    }
    assert_eq!(output.write_when_due(), None);
    let lost = output.lost;
    let kept = printed.len() - lost as usize;
    assert_eq!(kept, BATCH + BACKLOG);
    let got = drain(output, reader);
    assert_eq!(got[..kept], printed[..kept]);
    assert_eq!(
        String::from_utf8(got[kept..].to_vec()).unwrap(),
        format!("\n[cenote: {lost} bytes of console output are lost: nobody read them in time]\n")
    );
}

#[test]
fn after_a_loss_the_next_bytes_follow_the_line_that_tells_of_it() {
    let (mut output, mut reader) = narrow();
    output.take(&bytes(BATCH));
    output.take(&bytes(BACKLOG + 1));
    assert_eq!(output.lost, 1);
    reader.read_exact(&mut [0; BATCH]).unwrap();
    output.write();
    output.take(b"lost too");
    assert_eq!(output.lost, 9);
    while output.lost > 0 {
        assert!(reader.read(&mut [0; 100]).unwrap() > 0);
        output.write();
    }
    output.take(b"after");
    let got = drain(output, reader);
    assert!(got.ends_with(b"read them in time]\nafter"));
}

#[test]
fn a_reader_that_is_gone_ends_the_record_only() {
    let (mut output, reader) = narrow();
    drop(reader);
    output.take(b"nobody hears");
    output.write();
    assert!(output.file.is_none());
    output.take(&bytes(3 * BACKLOG));
    assert!(output.pending.is_empty());
    assert_eq!(output.write_when_due(), None);
    assert_eq!(output.source().count(), 0);
}

#[test]
fn a_file_takes_everything() {
    let mut file = tempfile::tempfile().unwrap();
    let mut output = Output::new(file.try_clone().unwrap().into()).unwrap();
    let printed = bytes(3 * BACKLOG + 7);
    printed.chunks(16).for_each(|piece| output.take(piece));
    drop(output);
    let mut got = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut got).unwrap();
    assert!(got == printed);
}

#[test]
fn a_file_on_a_full_disk_ends_the_record_only() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut output = Output::new(full.into()).unwrap();
    output.take(&bytes(BATCH));
    assert!(output.file.is_none() && output.pending.is_empty());
}
