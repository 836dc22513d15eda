//! A directory mounted on the host over Unix sockets, as a guest's kernel mounts it over vsock. These tests mount, which
//! needs root.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

use cenote_fuse::device::attach;
use cenote_fuse::passthrough::{Cache, Config, Locks, Passthrough};
use cenote_fuse::server::Server;
use cenote_fuse::stream::{
    REQUEST_LIMIT, Relay, RelayError, STREAMS_LIMIT, ServeError, Service, StreamError,
};
use cenote_fuse::testing::Share;
use rustix::fs::FlockOperation;
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};

/// A share, its service, and the mount of whoever uses it.
struct Mounted {
    relay: Option<Relay>,
    service: Option<Service>,
    server: Arc<Server>,
    point: PathBuf,
    share: Share,
    _folder: tempfile::TempDir,
}

fn service(share: &Share, config: Config, workers: usize) -> (Arc<Server>, Service) {
    let directory = Passthrough::new(&share.inside, config).unwrap();
    let server = Arc::new(Server::new(directory));
    let service = Service::new(Arc::clone(&server), workers);
    (server, service)
}

/// Mounts on `point`, served by the other ends of `streams`.
fn relay(streams: Vec<UnixStream>, point: &Path) -> Relay {
    let device = attach(point, MountFlags::empty())
        .unwrap_or_else(|error| panic!("{error}: run this test as root"));
    let streams = streams.into_iter().map(Into::into).collect();
    Relay::start(device, streams).unwrap()
}

/// Unmounts what is not served any more.
fn unmount(point: &Path) {
    rustix::mount::unmount(point, UnmountFlags::DETACH).unwrap();
}

fn mount(config: Config, streams: usize, workers: usize) -> Mounted {
    let share = Share::new();
    let folder = tempfile::tempdir().unwrap();
    let (server, mut service) = service(&share, config, workers);
    let mut theirs = Vec::new();
    for _ in 0..streams {
        let (ours, other) = UnixStream::pair().unwrap();
        service.add(ours.into()).unwrap();
        theirs.push(other);
    }
    Mounted {
        relay: Some(relay(theirs, folder.path())),
        service: Some(service),
        server,
        point: folder.path().to_owned(),
        share,
        _folder: folder,
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.relay.take();
        unmount(&self.point);
    }
}

#[test]
fn what_is_written_is_read() {
    for (streams, workers) in [(1, 1), (1, 16), (4, 2)] {
        for cache in [Cache::Never, Cache::Auto] {
            let mounted = mount(
                Config {
                    cache,
                    ..Config::default()
                },
                streams,
                workers,
            );
            let path = mounted.point.join("f");
            let data: Vec<u8> = (0..5_000_000u32).map(|number| (number / 7) as u8).collect();
            fs::write(&path, &data).unwrap();
            assert!(fs::read(mounted.share.inside.join("f")).unwrap() == data);
            assert!(fs::read(&path).unwrap() == data, "{streams} {workers}");
        }
    }
}

#[test]
fn many_work_at_once() {
    let mounted = mount(Config::default(), 4, 16);
    thread::scope(|scope| {
        for worker in 0..64 {
            let point = &mounted.point;
            scope.spawn(move || {
                let folder = point.join(worker.to_string());
                fs::create_dir(&folder).unwrap();
                for number in 0..20usize {
                    let data = vec![number as u8; number * 4096 + worker];
                    let mut file = File::create(folder.join(number.to_string())).unwrap();
                    file.write_all(&data).unwrap();
                    file.sync_all().unwrap();
                    assert!(fs::read(folder.join(number.to_string())).unwrap() == data);
                }
                assert_eq!(fs::read_dir(&folder).unwrap().count(), 20);
                fs::remove_dir_all(&folder).unwrap();
            });
        }
    });
    assert_eq!(fs::read_dir(&mounted.share.inside).unwrap().count(), 0);
}

#[test]
fn whoever_waits_for_a_lock_holds_up_nobody() {
    let config = Config {
        locks: Locks::Host,
        ..Config::default()
    };
    // One thread on each side of one stream: it must stay free.
    let mounted = mount(config, 1, 1);
    fs::write(mounted.share.inside.join("f"), "x").unwrap();
    let on_host = File::open(mounted.share.inside.join("f")).unwrap();
    rustix::fs::flock(&on_host, FlockOperation::LockExclusive).unwrap();

    let waits = File::open(mounted.point.join("f")).unwrap();
    let (locked, seen) = channel();
    let waiter = thread::spawn(move || {
        rustix::fs::flock(&waits, FlockOperation::LockExclusive).unwrap();
        locked.send(()).unwrap();
    });
    for number in 0..50 {
        fs::write(mounted.point.join(number.to_string()), "others work").unwrap();
    }
    assert!(seen.try_recv().is_err(), "the host still has the lock");
    rustix::fs::flock(&on_host, FlockOperation::Unlock).unwrap();
    seen.recv().unwrap();
    waiter.join().unwrap();
}

#[test]
fn waiting_for_a_lock_is_interrupted() {
    let config = Config {
        locks: Locks::Host,
        ..Config::default()
    };
    let mounted = mount(config, 2, 1);
    fs::write(mounted.share.inside.join("f"), "x").unwrap();
    let on_host = File::open(mounted.share.inside.join("f")).unwrap();
    rustix::fs::flock(&on_host, FlockOperation::LockExclusive).unwrap();
    let status = std::process::Command::new("timeout")
        .args(["--signal=INT", "0.3", "flock"])
        .arg(mounted.point.join("f"))
        .arg("true")
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(124), "it was ended by the signal");
}

#[test]
fn when_the_server_goes_users_get_errors() {
    let mut mounted = mount(Config::default(), 2, 2);
    fs::write(mounted.point.join("f"), "x").unwrap();
    let file = File::open(mounted.point.join("f")).unwrap();
    mounted.service.take();
    let relay = mounted.relay.take().unwrap();
    assert_eq!(relay.wait(), Err(StreamError::Gone));
    assert_eq!(errno(file.metadata()), Some(Errno::NOTCONN));
    assert_eq!(errno(fs::read_dir(&mounted.point)), Some(Errno::NOTCONN));
}

#[test]
fn a_request_under_way_fails_when_the_server_goes() {
    let folder = tempfile::tempdir().unwrap();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let relay = relay(vec![theirs], folder.path());
    let point = folder.path().to_owned();
    // INIT is never answered, so this waits.
    let user = thread::spawn(move || fs::metadata(point.join("f")).unwrap_err());
    let mut init = [0; 40];
    ours.read_exact(&mut init).unwrap();
    drop(ours);
    assert_eq!(relay.wait(), Err(StreamError::Gone));
    user.join().unwrap();
    unmount(folder.path());
}

#[test]
fn when_the_client_goes_nothing_stays_open() {
    let mut mounted = mount(Config::default(), 2, 4);
    let file = File::create(mounted.point.join("f")).unwrap();
    file.write_all_at(b"x", 0).unwrap();
    assert!(mounted.server.directory().known().1 > 0);
    mounted.relay.take();
    mounted.service.take();
    assert_eq!(mounted.server.directory().known(), (1, 0, 0));
    assert_eq!(
        Arc::strong_count(&mounted.server),
        1,
        "a thread still has it"
    );
    assert_eq!(errno(file.metadata()), Some(Errno::NOTCONN));
}

fn errno<T>(result: std::io::Result<T>) -> Option<Errno> {
    result.err().and_then(|error| Errno::from_io_error(&error))
}

#[test]
fn a_client_that_breaks_the_protocol_is_served_no_longer() {
    let share = Share::new();
    let (_server, mut service) = service(&share, Config::default(), 2);
    for len in [0u32, 39, REQUEST_LIMIT as u32 + 1, u32::MAX] {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        service.add(ours.into()).unwrap();
        let mut message = [0; 40];
        message[..4].copy_from_slice(&len.to_ne_bytes());
        theirs.write_all(&message).unwrap();
        let mut reply = Vec::new();
        // The end of the stream, or that it was closed with something unread.
        drop(theirs.read_to_end(&mut reply));
        assert_eq!(reply, []);
    }
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let refused = service.add(ours.into());
    assert!(matches!(refused, Err(ServeError::Streams)), "{refused:?}");
}

#[test]
fn a_server_that_breaks_the_protocol_ends_the_mount() {
    for len in [0u32, 15, (1 << 20) + 17, u32::MAX] {
        let folder = tempfile::tempdir().unwrap();
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let relay = relay(vec![theirs], folder.path());
        let mut reply = [0; 16];
        reply[..4].copy_from_slice(&len.to_ne_bytes());
        ours.write_all(&reply).unwrap();
        let refused = StreamError::Length {
            len: len as usize,
            least: 16,
            most: (1 << 20) + 16,
        };
        assert_eq!(relay.wait(), Err(refused));
        unmount(folder.path());
    }
}

#[test]
fn a_mount_has_a_few_streams() {
    let folder = tempfile::tempdir().unwrap();
    for number in [0, STREAMS_LIMIT + 1] {
        let device = attach(folder.path(), MountFlags::empty()).unwrap();
        let streams = (0..number)
            .map(|_| UnixStream::pair().unwrap().0.into())
            .collect();
        let refused = Relay::start(device, streams);
        unmount(folder.path());
        assert!(
            matches!(refused, Err(RelayError::Streams(found)) if found == number),
            "{refused:?}"
        );
    }
}

#[test]
fn appending_is_the_servers() {
    let mounted = mount(Config::default(), 2, 2);
    let open = |path: PathBuf| OpenOptions::new().append(true).create(true).open(path);
    let mut ours = open(mounted.point.join("log")).unwrap();
    let mut theirs = open(mounted.share.inside.join("log")).unwrap();
    for _ in 0..100 {
        ours.write_all(b"ours\n").unwrap();
        theirs.write_all(b"theirs\n").unwrap();
    }
    let text = fs::read_to_string(mounted.share.inside.join("log")).unwrap();
    assert_eq!(text, "ours\ntheirs\n".repeat(100));
}
