//! A directory mounted on the host, used as programs use directories. These tests mount, which needs root.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

use cenote_fuse::device::Session;
use cenote_fuse::passthrough::{Cache, Config, Locks, Passthrough, Readdirplus};
use cenote_fuse::server::Server;
use cenote_fuse::testing::Share;
use rustix::fs::{FallocateFlags, FlockOperation, RenameFlags, XattrFlags};
use rustix::io::Errno;

/// A share that is mounted.
struct Mounted {
    share: Share,
    point: PathBuf,
    server: Arc<Server>,
    session: Option<Session>,
    _folder: tempfile::TempDir,
}

fn mount(config: Config) -> Mounted {
    mount_again(Share::new(), config)
}

fn mount_again(share: Share, config: Config) -> Mounted {
    let folder = tempfile::tempdir().unwrap();
    let point = folder.path().to_owned();
    let directory = Passthrough::new(&share.inside, config).unwrap();
    let server = Arc::new(Server::new(directory));
    let session = Session::mount(Arc::clone(&server), &point, 4)
        .unwrap_or_else(|error| panic!("{error}: run this test as root"));
    Mounted {
        share,
        point,
        server,
        session: Some(session),
        _folder: folder,
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.session.take();
    }
}

const CACHES: [Cache; 4] = [Cache::Never, Cache::Metadata, Cache::Auto, Cache::Always];

#[test]
fn what_is_written_is_read_in_every_mode() {
    for cache in CACHES {
        let mounted = mount(Config {
            cache,
            ..Config::default()
        });
        let path = mounted.point.join("f");
        let data: Vec<u8> = (0..3_000_000u32).map(|number| (number / 7) as u8).collect();
        fs::write(&path, &data).unwrap();
        assert!(fs::read(&path).unwrap() == data, "{cache:?}");
        assert!(fs::read(mounted.share.inside.join("f")).unwrap() == data);
        fs::write(&path, "short").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short", "{cache:?}");
    }
}

#[test]
fn appending_writes_go_to_the_end_whoever_made_it_longer() {
    let mounted = mount(Config::default());
    let path = mounted.point.join("log");
    let mut log = OpenOptions::new()
        .append(true)
        .create(true)
        .open(&path)
        .unwrap();
    log.write_all(b"one\n").unwrap();
    let on_host = mounted.share.inside.join("log");
    let mut theirs = OpenOptions::new().append(true).open(&on_host).unwrap();
    theirs.write_all(b"two\n").unwrap();
    log.write_all(b"three\n").unwrap();
    assert_eq!(fs::read_to_string(on_host).unwrap(), "one\ntwo\nthree\n");
}

#[test]
fn a_large_folder_is_listed_whole() {
    for readdirplus in [Readdirplus::Never, Readdirplus::Auto, Readdirplus::Always] {
        let mounted = mount(Config {
            readdirplus,
            ..Config::default()
        });
        for number in 0..3000 {
            fs::write(mounted.share.inside.join(format!("file-{number}")), "x").unwrap();
        }
        let mut names: Vec<_> = fs::read_dir(&mounted.point)
            .unwrap()
            .map(|entry| {
                let entry = entry.unwrap();
                assert_eq!(entry.metadata().unwrap().len(), 1);
                entry.file_name()
            })
            .collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 3000, "{readdirplus:?}");
    }
}

#[test]
fn a_tree_is_removed_while_it_is_listed() {
    let mounted = mount(Config::default());
    for number in 0..500 {
        let folder = mounted.point.join(format!("d/{}/{number}", number % 7));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("f"), "x").unwrap();
        symlink("f", folder.join("l")).unwrap();
    }
    fs::remove_dir_all(mounted.point.join("d")).unwrap();
    assert_eq!(fs::read_dir(&mounted.share.inside).unwrap().count(), 0);
}

#[test]
fn holes_and_reserved_space() {
    let mounted = mount(Config::default());
    let path = mounted.point.join("f");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(&path)
        .unwrap();
    file.write_all_at(b"data", 1 << 20).unwrap();
    let found = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(0)).unwrap();
    assert_eq!(found, 1 << 20);
    let hole = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(0)).unwrap();
    assert_eq!(hole, 0);

    let punch = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    rustix::fs::fallocate(&file, punch, 1 << 20, 4).unwrap();
    let mut data = [1; 4];
    file.read_exact_at(&mut data, 1 << 20).unwrap();
    assert_eq!(data, [0; 4]);
    rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, 2 << 20).unwrap();
    assert_eq!(file.seek(SeekFrom::End(0)).unwrap(), 2 << 20);
    assert_eq!(
        mounted.share.inside.join("f").metadata().unwrap().len(),
        2 << 20
    );
}

#[test]
fn files_are_copied_by_the_server() {
    let mounted = mount(Config::default());
    let data: Vec<u8> = (0..2_000_000u32).map(|number| number as u8).collect();
    fs::write(mounted.point.join("from"), &data).unwrap();
    let from = File::open(mounted.point.join("from")).unwrap();
    let to = File::create(mounted.point.join("to")).unwrap();
    let copied = rustix::fs::copy_file_range(&from, None, &to, None, data.len()).unwrap();
    assert_eq!(copied, data.len());
    assert!(fs::read(mounted.point.join("to")).unwrap() == data);
}

#[test]
fn files_without_a_name() {
    let mounted = mount(Config::default());
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_TMPFILE)
        .open(&mounted.point)
        .unwrap();
    file.write_all(b"nameless").unwrap();
    assert_eq!(fs::read_dir(&mounted.point).unwrap().count(), 0);
    let proc_path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
    rustix::fs::linkat(
        rustix::fs::CWD,
        proc_path,
        rustix::fs::CWD,
        mounted.point.join("named"),
        rustix::fs::AtFlags::SYMLINK_FOLLOW,
    )
    .unwrap();
    assert_eq!(
        fs::read(mounted.share.inside.join("named")).unwrap(),
        b"nameless"
    );
}

#[test]
fn a_removed_file_stays_as_long_as_it_is_open() {
    let mounted = mount(Config::default());
    let path = mounted.point.join("f");
    fs::write(&path, "still here").unwrap();
    let mut file = File::options().read(true).write(true).open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "still here");
    file.set_len(5).unwrap();
    assert_eq!(file.metadata().unwrap().len(), 5);
    assert_eq!(file.metadata().unwrap().nlink(), 0);
}

#[test]
fn names_are_exchanged_and_not_overwritten() {
    let mounted = mount(Config::default());
    let (a, b) = (mounted.point.join("a"), mounted.point.join("b"));
    fs::write(&a, "a").unwrap();
    fs::write(&b, "b").unwrap();
    let rename = |flags| rustix::fs::renameat_with(rustix::fs::CWD, &a, rustix::fs::CWD, &b, flags);
    assert_eq!(rename(RenameFlags::NOREPLACE), Err(Errno::EXIST));
    rename(RenameFlags::EXCHANGE).unwrap();
    assert_eq!(fs::read_to_string(&a).unwrap(), "b");
    assert_eq!(fs::read_to_string(&b).unwrap(), "a");
}

#[test]
fn attributes_with_names() {
    let mounted = mount(Config::default());
    let path = mounted.point.join("f");
    fs::write(&path, "").unwrap();
    let set = |name| rustix::fs::setxattr(&path, name, b"value", XattrFlags::empty());
    set("user.one").unwrap();
    assert_eq!(set("trusted.overlay.opaque"), Err(Errno::PERM), "hidden");
    let mut value = [0; 64];
    let len = rustix::fs::getxattr(&path, "user.one", &mut value[..]).unwrap();
    assert_eq!(&value[..len], b"value");
    let len = rustix::fs::listxattr(&path, &mut value[..]).unwrap();
    assert_eq!(&value[..len], b"user.one\0");
    rustix::fs::removexattr(&path, "user.one").unwrap();
    assert_eq!(
        rustix::fs::getxattr(&path, "user.one", &mut value[..]),
        Err(Errno::NODATA)
    );
}

#[test]
fn locks_of_the_host_hold_between_mounts() {
    let config = Config {
        locks: Locks::Host,
        ..Config::default()
    };
    let mounted = mount(config);
    let path = mounted.point.join("f");
    let on_host = File::create(mounted.share.inside.join("f")).unwrap();
    let ours = File::options().write(true).open(&path).unwrap();
    let exclusive = FlockOperation::NonBlockingLockExclusive;
    rustix::fs::flock(&on_host, exclusive).unwrap();
    assert_eq!(rustix::fs::flock(&ours, exclusive), Err(Errno::AGAIN));
    let waits = std::thread::spawn(move || {
        rustix::fs::flock(&ours, FlockOperation::LockExclusive).unwrap();
        ours
    });
    rustix::fs::flock(&on_host, FlockOperation::Unlock).unwrap();
    let ours = waits.join().unwrap();
    assert_eq!(rustix::fs::flock(&on_host, exclusive), Err(Errno::AGAIN));
    drop(ours);
    rustix::fs::flock(&on_host, FlockOperation::LockExclusive).unwrap();
}

#[test]
fn a_mapping_is_written_back_in_every_mode() {
    for cache in CACHES {
        let mounted = mount(Config {
            cache,
            ..Config::default()
        });
        let path = mounted.point.join("f");
        fs::write(&path, [b'.'; 8192]).unwrap();
        let file = File::options().read(true).write(true).open(&path).unwrap();
        map_and_change(&file);
        let there = fs::read(mounted.share.inside.join("f")).unwrap();
        assert_eq!(&there[4096..4104], b"mapped!!", "{cache:?}");
    }
}

fn map_and_change(file: &File) {
    use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};
    let write = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: a new mapping of two pages where the kernel likes, of a file that is that long and stays so; it is written
    // within its bounds, through the pointer that it gave, and unmapped once.
    unsafe {
        let at = mmap(
            std::ptr::null_mut(),
            8192,
            write,
            MapFlags::SHARED,
            file.as_fd(),
            0,
        )
        .unwrap();
        at.cast::<u8>()
            .add(4096)
            .copy_from_nonoverlapping(b"mapped!!".as_ptr(), 8);
        msync(at, 8192, MsyncFlags::SYNC).unwrap();
        munmap(at, 8192).unwrap();
    }
}

#[test]
fn nothing_is_left_when_it_is_unmounted() {
    let mut mounted = mount(Config::default());
    fs::create_dir(mounted.point.join("d")).unwrap();
    fs::write(mounted.point.join("d/f"), "x").unwrap();
    let server = Arc::clone(&mounted.server);
    mounted.session.take();
    assert_eq!(Arc::strong_count(&server), 2, "a thread still has it");
    assert_eq!(fs::read_dir(&mounted.point).unwrap().count(), 0);
}

#[test]
fn it_is_unmounted_although_somebody_uses_it() {
    let mut mounted = mount(Config::default());
    fs::write(mounted.point.join("f"), "x").unwrap();
    let file = File::open(mounted.point.join("f")).unwrap();
    mounted.session.take();
    assert!(file.metadata().is_err(), "the server is gone");
    assert_eq!(fs::read_dir(&mounted.point).unwrap().count(), 0);
}
