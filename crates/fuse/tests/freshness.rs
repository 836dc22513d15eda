//! How soon a mounted client sees what changes on the host. These tests mount, which needs root.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cenote_fuse::device::Session;
use cenote_fuse::passthrough::{Cache, Config, Passthrough};
use cenote_fuse::server::Server;
use cenote_fuse::testing::Share;
use cenote_fuse::wire::ROOT;
use rustix::io::Errno;

struct Mounted {
    share: Share,
    point: tempfile::TempDir,
    _session: Session,
}

fn mount(cache: Cache) -> Mounted {
    let share = Share::new();
    let point = tempfile::tempdir().unwrap();
    let config = Config {
        cache,
        ..Config::default()
    };
    let server = Arc::new(Server::new(
        Passthrough::new(&share.inside, config).unwrap(),
    ));
    let session = Session::mount(server, point.path(), 2)
        .unwrap_or_else(|error| panic!("{error}: run this test as root"));
    Mounted {
        share,
        point,
        _session: session,
    }
}

impl Mounted {
    fn here(&self) -> PathBuf {
        self.point.path().join("f")
    }

    fn on_host(&self) -> PathBuf {
        self.share.inside.join("f")
    }
}

/// Reads the file through an open one: no open tells the client to look again.
fn read(file: &File) -> String {
    let mut data = [0; 16];
    let len = file.read_at(&mut data, 0).unwrap();
    String::from_utf8_lossy(&data[..len]).into_owned()
}

#[test]
fn without_a_cache_every_change_is_seen_at_once() {
    let mounted = mount(Cache::Never);
    assert!(!mounted.here().exists());
    fs::write(mounted.on_host(), "first").unwrap();
    let file = File::open(mounted.here()).unwrap();
    assert_eq!(read(&file), "first");
    fs::write(mounted.on_host(), "second!").unwrap();
    assert_eq!(read(&file), "second!");
    assert_eq!(fs::metadata(mounted.here()).unwrap().len(), 7);
    fs::remove_file(mounted.on_host()).unwrap();
    assert!(!mounted.here().exists());
}

#[test]
fn data_are_never_cached_where_only_metadata_are() {
    let mounted = mount(Cache::Metadata);
    fs::write(mounted.on_host(), "first").unwrap();
    let file = File::open(mounted.here()).unwrap();
    assert_eq!(read(&file), "first");
    fs::write(mounted.on_host(), "other").unwrap();
    assert_eq!(read(&file), "other");
}

#[test]
fn by_default_a_change_is_seen_when_the_file_is_opened() {
    let mounted = mount(Cache::Auto);
    for round in 0..20 {
        let text = format!("round {round:2}");
        fs::write(mounted.on_host(), &text).unwrap();
        let file = File::open(mounted.here()).unwrap();
        assert_eq!(read(&file), text);
    }
}

#[test]
fn by_default_a_file_is_opened_in_its_new_length() {
    let mounted = mount(Cache::Auto);
    for round in 0..20 {
        // Longer and shorter by turns, each just after the client has learned the last length.
        let text = "x".repeat(if round % 2 == 0 { 9 } else { 4 });
        fs::write(mounted.on_host(), &text).unwrap();
        let file = File::open(mounted.here()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), text.len() as u64);
        assert_eq!(read(&file), text);
    }
}

#[test]
fn a_file_that_grows_all_the_time_can_be_opened() {
    let share = Share::new();
    let mut client = share.client();
    let path = share.inside.join("log");
    fs::write(&path, "").unwrap();
    let mut log = File::options().append(true).open(&path).unwrap();
    let node = client.lookup(ROOT, "log").unwrap().node;
    for _ in 0..3 {
        log.write_all(b"line\n").unwrap();
        assert_eq!(client.open(node, libc::O_RDONLY), Err(Errno::STALE));
        client.lookup(ROOT, "log").unwrap();
        // Linux has looked the name up anew, and opens it once more, but does not look a third time.
        log.write_all(b"line\n").unwrap();
        client.open(node, libc::O_RDONLY).unwrap();
    }
    assert_eq!(
        client.open(node, libc::O_RDONLY),
        Err(Errno::STALE),
        "the client still has another length in mind"
    );
}

#[test]
fn by_default_a_new_file_is_found_at_once() {
    let mounted = mount(Cache::Auto);
    assert!(!mounted.here().exists());
    fs::write(mounted.on_host(), "").unwrap();
    assert!(mounted.here().exists());
}

#[test]
fn by_default_a_change_is_seen_after_a_second_anyway() {
    let mounted = mount(Cache::Auto);
    fs::write(mounted.on_host(), "first").unwrap();
    let file = File::open(mounted.here()).unwrap();
    assert_eq!(read(&file), "first");
    let begun = Instant::now();
    fs::write(mounted.on_host(), "and more").unwrap();
    while read(&file) != "and more" {
        let waited = begun.elapsed();
        assert!(waited < Duration::from_secs(30), "a change is never seen");
        std::thread::yield_now();
    }
}

#[test]
fn a_reader_sees_at_once_what_another_of_the_client_writes() {
    for cache in [Cache::Auto, Cache::Always] {
        let mounted = mount(cache);
        fs::write(mounted.on_host(), "first").unwrap();
        let file = File::open(mounted.here()).unwrap();
        assert_eq!(read(&file), "first");
        let writer = File::options().write(true).open(mounted.here()).unwrap();
        writer.write_all_at(b"other", 0).unwrap();
        assert_eq!(read(&file), "other", "{cache:?}");
        let mut appends = File::options().append(true).open(mounted.here()).unwrap();
        appends.write_all(b" end").unwrap();
        assert_eq!(read(&file), "other end", "{cache:?}");
    }
}

#[test]
fn for_good_means_that_nobody_else_may_change_anything() {
    let mounted = mount(Cache::Always);
    fs::write(mounted.on_host(), "first").unwrap();
    let file = File::open(mounted.here()).unwrap();
    assert_eq!(read(&file), "first");
    fs::write(mounted.on_host(), "other").unwrap();
    assert_eq!(read(&File::open(mounted.here()).unwrap()), "first");
}
