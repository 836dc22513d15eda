//! A file server's client that believes what it knows for long sees at once what others change, because names are looked at
//! anew when the server tells. These tests mount, which needs root.

use std::collections::BTreeSet;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use cenote_fuse::device::Session;
use cenote_fuse::passthrough::{Change, Changes, Config, Listener, News, Passthrough};
use cenote_fuse::server::{Observer, Served, Server};
use cenote_fuse::testing::Share;
use cenote_fuse::wire::Opcode;
use cenote_guest::refresh::refresh;
use cenote_protocol::ChangedDirectory;
use rustix::event::{PollFd, PollFlags, poll};

/// A file that others touch when they are done.
const MARKER: &CStr = c"marker";

/// Counts requests about names and attributes, and for data.
#[derive(Debug, Default, Clone)]
struct Count(Arc<AtomicUsize>);

impl Observer for Count {
    fn served(&self, served: &Served) {
        if let Some(Opcode::Lookup | Opcode::Getattr | Opcode::Readdirplus | Opcode::Read) =
            served.opcode
        {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct Mounted {
    share: Share,
    point: tempfile::TempDir,
    count: Count,
    /// The client was told of the marker.
    marked: Receiver<()>,
    teller: Option<(OwnedFd, JoinHandle<()>)>,
    _session: Session,
}

fn mounted() -> Mounted {
    mounted_with("")
}

/// Mounts a share in which a script has worked before.
fn mounted_with(script: &str) -> Mounted {
    let share = Share::new();
    shell(&share, script);
    let point = tempfile::tempdir().unwrap();
    let changes = Changes::new().unwrap();
    let directory = Passthrough::new(&share.inside, Config::default())
        .unwrap()
        .with_changes(Arc::clone(&changes), 0);
    let count = Count::default();
    fs::write(share.inside.join("marker"), "").unwrap();
    let server = Server::new(directory).with_observer(Arc::new(count.clone()));
    // One reader: when it takes a request, those before are counted.
    let session = Session::mount(Arc::new(server), point.path(), 1)
        .unwrap_or_else(|error| panic!("{error}: run this test as root"));
    let root: OwnedFd = File::open(point.path()).unwrap().into();
    let listener = changes.listen();
    let (tell, marked) = channel();
    let (stop, stopped) = rustix::pipe::pipe().unwrap();
    let thread = std::thread::spawn(move || tell_all(listener, &root, &stop, &tell));
    Mounted {
        share,
        point,
        count,
        marked,
        teller: Some((stopped, thread)),
        _session: session,
    }
}

/// Refreshes what changes, until the other end of `stop` is closed.
fn tell_all(mut listener: Listener, root: &OwnedFd, stop: &OwnedFd, tell: &Sender<()>) {
    loop {
        let mut ready = [
            PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN),
            PollFd::new(stop, PollFlags::IN),
        ];
        poll(&mut ready, None).unwrap();
        if !ready[1].revents().is_empty() {
            return;
        }
        listener.collect().unwrap();
        while let Some(news) = listener.news() {
            let News::Changes(changes) = news else {
                panic!("the queue has overflowed");
            };
            let mut missed = Vec::new();
            let mut marked = false;
            for (index, change) in (0..).zip(changes) {
                if !refresh(root.as_fd(), &message(&change)) {
                    missed.push(index);
                }
                marked |= change.names.iter().any(|name| **name == *MARKER);
            }
            if marked {
                let _ = tell.send(());
            }
            listener.told(&missed);
        }
    }
}

fn shell(share: &Share, script: &str) {
    let mut shell = Command::new("sh");
    let shell = shell.args(["-ec", script]).current_dir(&share.inside);
    assert!(shell.status().unwrap().success(), "{script}");
}

fn message(change: &Change) -> ChangedDirectory {
    ChangedDirectory {
        mount: change.share,
        path: change.directory.clone(),
        inode: change.inode,
        itself: change.itself,
        names: change
            .names
            .iter()
            .map(|name| name.to_bytes().to_vec())
            .collect(),
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.teller.take() {
            drop(stop);
            drop(thread.join());
        }
    }
}

impl Mounted {
    fn here(&self, name: &str) -> PathBuf {
        self.point.path().join(name)
    }

    /// Somebody else does something on the host; returns when the client was told of all of it.
    fn others(&self, script: &str) {
        self.unheard(&format!("{script}\ntouch marker"));
        self.marked.recv().expect("it is told");
    }

    /// Somebody else does something that nobody waits for.
    fn unheard(&self, script: &str) {
        shell(&self.share, script);
    }

    /// How many requests `work` made.
    fn requests(&self, work: impl FnOnce()) -> usize {
        let before = self.counted();
        work();
        self.counted() - before
    }

    /// A reply may arrive before it is counted, but not the reply to the request after it.
    fn counted(&self) -> usize {
        rustix::fs::statfs(self.point.path()).unwrap();
        self.count.0.load(Ordering::Relaxed)
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).unwrap().len()
}

fn is_absent(path: &Path) -> bool {
    fs::metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound)
}

#[test]
fn whatever_others_change_is_seen_by_the_next_look() {
    let mounted = mounted();
    mounted.unheard("mkdir -p d/e; echo one > f; echo two > d/g; echo three > d/e/h");
    let (f, g, h) = (
        mounted.here("f"),
        mounted.here("d/g"),
        mounted.here("d/e/h"),
    );
    assert_eq!([length(&f), length(&g), length(&h)], [4, 4, 6]);
    let open = File::open(&f).unwrap();
    let mut data = [0; 4];
    open.read_exact_at(&mut data, 0).unwrap();
    assert!(is_absent(&mounted.here("new")));

    mounted.others("echo ten > f");
    // Through the open file: nothing but the news makes the client look.
    open.read_exact_at(&mut data, 0).unwrap();
    assert_eq!(&data, b"ten\n");
    mounted.others("printf two | dd conv=notrunc of=f status=none");
    open.read_exact_at(&mut data, 0).unwrap();
    assert_eq!(&data, b"two\n");
    mounted.others("echo more >> f");
    assert_eq!(length(&f), 9);
    mounted.others("chmod 600 f");
    assert_eq!(fs::metadata(&f).unwrap().mode() & 0o777, 0o600);
    mounted.others("echo 12345 > new");
    assert_eq!(length(&mounted.here("new")), 6);
    let names = |folder: &str| {
        let entries = fs::read_dir(mounted.here(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names
            .collect::<BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(names(""), "d f marker new");
    mounted.others("mv new f");
    assert!(is_absent(&mounted.here("new")));
    assert_eq!(length(&f), 6);
    assert_eq!(names(""), "d f marker");
    mounted.others("rm d/g");
    assert!(is_absent(&g));
    assert_eq!(names("d"), "e");
    mounted.others("mv d/e e");
    assert!(is_absent(&h));
    assert_eq!(length(&mounted.here("e/h")), 6);
    mounted.others("echo longer text >> e/h");
    assert_eq!(length(&mounted.here("e/h")), 18);
    mounted.others("rm -r e; echo file > e");
    assert!(fs::metadata(mounted.here("e")).unwrap().is_file());
}

#[test]
fn a_change_is_seen_behind_a_name_that_is_out_of_date() {
    let mounted = mounted();
    mounted.unheard("mkdir -p a b; echo one > a/f; echo two > b/f");
    assert_eq!(length(&mounted.here("a/f")), 4);
    assert_eq!(length(&mounted.here("b/f")), 4);
    assert!(is_absent(&mounted.here("c")));
    // When the change is told, the client still takes each of the three for what it was.
    mounted.others("mv a c; mv b a; echo longer > c/f; echo the longest > a/f");
    assert_eq!(length(&mounted.here("c/f")), 7);
    assert_eq!(length(&mounted.here("a/f")), 12);
}

#[test]
fn what_nobody_changed_is_not_asked_for_again() {
    let mounted = mounted_with(
        "for d in 0 1 2 3 4 5 6 7 8 9; do mkdir $d; (cd $d; seq 100 | xargs touch); done",
    );
    let look = || {
        for folder in 0..10 {
            for name in 1..=100 {
                fs::metadata(mounted.here(&format!("{folder}/{name}"))).unwrap();
            }
            assert!(is_absent(&mounted.here(&format!("{folder}/absent"))));
        }
    };
    assert!(mounted.requests(look) >= 1000);
    assert_eq!(mounted.requests(look), 0);
    mounted.others("touch 3/50");
    assert_eq!(mounted.requests(look), 0, "the news has brought it");
}

#[test]
fn what_the_client_has_written_is_not_asked_for() {
    let mounted = mounted();
    let mut options = File::options();
    let options = options.read(true).write(true).create(true);
    let file = options.open(mounted.here("f")).unwrap();
    let mut back = [0; 4096];
    let asked = mounted.requests(|| {
        for page in 0..100 {
            file.write_all_at(&[page; 4096], u64::from(page) << 12)
                .unwrap();
            file.read_exact_at(&mut back, u64::from(page / 2) << 12)
                .unwrap();
            assert_eq!(back, [page / 2; 4096]);
        }
    });
    assert_eq!(asked, 0);
    // What others write is.
    mounted.others("printf new | dd conv=notrunc of=f status=none");
    let asked = mounted.requests(|| file.read_exact_at(&mut back, 0).unwrap());
    assert!(asked > 0);
    assert!(back.starts_with(b"new\0"));
}

#[test]
fn names_that_lead_elsewhere_are_not_followed() {
    let mounted = mounted_with("mkdir d; ln -s .. d/up; ln -s / root");
    let root: OwnedFd = File::open(mounted.point.path()).unwrap().into();
    let inode = fs::metadata("/").unwrap().ino();
    for path in ["d/up", "root", "..", "/", "d/up/d", "root/tmp"] {
        let change = ChangedDirectory {
            mount: 0,
            path: path.into(),
            inode,
            itself: true,
            names: vec![b"x".to_vec()],
        };
        assert!(!refresh(root.as_fd(), &change), "{path}");
    }
    let change = ChangedDirectory {
        mount: 0,
        path: Vec::new(),
        inode: 0,
        itself: true,
        names: ["", ".", "..", "/", "d/x", "../x"].map(Into::into).to_vec(),
    };
    assert_eq!(
        mounted.requests(|| assert!(refresh(root.as_fd(), &change))),
        1,
        "the directory itself and none of the names"
    );
}
