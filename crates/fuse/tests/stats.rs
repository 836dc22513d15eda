//! What is counted of a server's work.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cenote_fuse::device::Session;
use cenote_fuse::passthrough::{Cache, Config, Passthrough};
use cenote_fuse::server::{Observer, Served, Server};
use cenote_fuse::stats::{Operation, Stats};
use cenote_fuse::testing::{FakeClient, Share, as_one_user};
use cenote_fuse::wire::{Opcode, ROOT};

#[derive(Debug, Default)]
struct Counting(Stats);

impl Observer for Counting {
    fn served(&self, served: &Served) {
        self.0.count(served);
    }
}

fn of(operations: &[Operation], name: &str) -> Operation {
    let found = operations.iter().find(|operation| operation.name == name);
    *found.unwrap_or_else(|| panic!("no {name} in {operations:?}"))
}

/// How often each operation was asked for, but for those that depend on how long it all takes, or that nobody waits for;
/// mounts, which needs root.
fn asked(share: &Share, config: Config, work: impl FnOnce(&Path)) -> BTreeMap<&'static str, u64> {
    let point = tempfile::tempdir().unwrap();
    let counting = Arc::new(Counting::default());
    let directory = Passthrough::new(&share.inside, config).unwrap();
    let server = Server::new(directory).with_observer(counting.clone());
    let session = Session::mount(Arc::new(server), point.path(), 1)
        .unwrap_or_else(|error| panic!("{error}: run this test as root"));
    work(point.path());
    drop(session);
    let unheard = [
        "init",
        "destroy",
        "getattr",
        "forget",
        "batch_forget",
        "release",
        "releasedir",
    ];
    let operations = counting.0.operations().into_iter();
    operations
        .map(|operation| (operation.name, operation.count))
        .filter(|(name, _)| !unheard.contains(name))
        .collect()
}

#[test]
fn a_new_file_takes_four_requests() {
    let asked = asked(&Share::new(), Config::default(), |point| {
        fs::write(point.join("f"), [1; 4096]).unwrap();
    });
    // The client asks for its capabilities before it first writes to its cache.
    let expected = [("create", 1), ("getxattr", 1), ("lookup", 1), ("write", 1)];
    assert_eq!(asked, BTreeMap::from(expected));
}

#[test]
fn what_never_changes_is_read_without_being_opened() {
    let share = Share::new();
    for name in ["a", "b", "c"] {
        fs::write(share.inside.join(name), name).unwrap();
    }
    let config = Config {
        cache: Cache::Always,
        read_only: true,
        ..Config::default()
    };
    let asked = asked(&share, config, |point| {
        for _ in 0..3 {
            assert_eq!(fs::read_dir(point).unwrap().count(), 3);
            for name in ["a", "b", "c"] {
                assert_eq!(fs::read_to_string(point.join(name)).unwrap(), name);
            }
        }
        let opened = File::options()
            .write(true)
            .truncate(true)
            .open(point.join("a"));
        assert_eq!(opened.unwrap_err().raw_os_error(), Some(libc::EROFS));
        assert_eq!(fs::read_to_string(point.join("a")).unwrap(), "a");
    });
    // The first of each is what tells the client.
    assert_eq!((asked["open"], asked["opendir"]), (1, 1));
    assert_eq!(asked["read"], 3);
}

#[test]
fn operations_are_counted_with_their_bytes_and_errors() {
    let share = Share::new();
    fs::write(share.inside.join("file"), "0123456789").unwrap();
    let counting = Arc::new(Counting::default());
    let directory = Passthrough::new(&share.inside, as_one_user()).unwrap();
    let server = Server::new(directory).with_observer(counting.clone());
    let mut client = FakeClient::of(server);
    let file = client.lookup(ROOT, "file").unwrap().node;
    client.lookup(ROOT, "none").unwrap_err();
    let handle = client.open(file, libc::O_RDWR).unwrap();
    client.read(handle, 4, 100).unwrap();
    client.write(handle, 0, b"abc").unwrap();
    client.write(handle, 0, b"defg").unwrap();
    let mut unknown = client.message(Opcode::Lookup, ROOT, &[]);
    unknown[4..8].copy_from_slice(&7u32.to_ne_bytes());
    client.send_raw(&unknown).unwrap().unwrap_err();

    let operations = counting.0.operations();
    let counted = |name| {
        let operation = of(&operations, name);
        (operation.count, operation.errors, operation.bytes)
    };
    assert_eq!(counted("lookup"), (2, 1, 0));
    assert_eq!(counted("open"), (1, 0, 0));
    assert_eq!(counted("read"), (1, 0, 6));
    assert_eq!(counted("write"), (2, 0, 7));
    assert_eq!(counted("unknown"), (1, 1, 0));
    assert!(!operations.iter().any(|operation| operation.name == "mkdir"));
    for pair in operations.windows(2) {
        assert!(pair[0].total >= pair[1].total, "{operations:?}");
    }
    for operation in &operations {
        assert!(operation.total > Duration::ZERO, "{operation:?}");
        let Operation {
            median, p90, p99, ..
        } = *operation;
        assert!(median <= p90 && p90 <= p99 && p99 <= operation.longest);
        assert!(operation.longest <= operation.total);
    }
}
