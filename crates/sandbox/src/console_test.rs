use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::OwnedFd;

use super::{Console, MAX_LENGTH, QUOTED_LINES, last_lines, panic, quote};

#[test]
fn the_last_lines_are_quoted() {
    let folder = tempfile::tempdir().unwrap();
    let (reader, mut writer) = io::pipe().unwrap();
    let console = Console::record(
        Some(File::from(OwnedFd::from(reader))),
        &folder.path().join("c"),
    )
    .unwrap();
    for line in 0..100 {
        writeln!(writer, "line {line}\r").unwrap();
    }
    drop(writer);
    let tail = console.tail();
    assert_eq!(tail.lines().count(), QUOTED_LINES);
    assert!(quote(&tail).ends_with("\n  | line 99"));
}

#[test]
fn escape_sequences_do_not_reach_the_reader() {
    assert_eq!(last_lines(b"\x1b[2Jred\x07\n"), "[2Jred");
}

#[test]
fn a_silent_console_adds_nothing() {
    assert_eq!(quote(&last_lines(b"\n \n")), "");
}

#[test]
fn a_flood_stays_within_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c");
    let (reader, mut writer) = io::pipe().unwrap();
    let console = Console::record(Some(File::from(OwnedFd::from(reader))), &path).unwrap();
    let chunk = [b'x'; 1 << 16];
    for _ in 0..64 {
        writer.write_all(&chunk).unwrap();
    }
    drop(writer);
    console.tail();
    let kept: u64 = fs::read_dir(folder.path())
        .unwrap()
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum();
    assert!(kept <= 2 * MAX_LENGTH + 4096, "{kept}");
}

#[test]
fn a_panic_is_found_among_other_lines() {
    let lines = "sysrq: Trigger a crash\n[    5.1] Kernel panic - not syncing: sysrq triggered crash\n\
                 [    5.2] ---[ end Kernel panic - not syncing: sysrq triggered crash ]---";
    assert_eq!(panic(lines), Some("sysrq triggered crash"));
    assert_eq!(panic("all is well"), None);
}

#[test]
fn a_long_story_is_quoted_from_the_panic_on() {
    let mut said = b"before\n[    5.1] Kernel panic - not syncing: no more\n".to_vec();
    for register in 0..100 {
        writeln!(said, "R{register}").unwrap();
    }
    let quoted = last_lines(&said);
    assert_eq!(panic(&quoted), Some("no more"));
    assert_eq!(quoted.lines().count(), QUOTED_LINES);
}
