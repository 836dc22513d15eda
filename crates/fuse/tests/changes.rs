//! What others change is told, and what is told may be believed for long.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use cenote_fuse::passthrough::{Cache, Change, Changes, Config, Listener, News, Passthrough};
use cenote_fuse::testing::{FakeClient, Share, as_one_user};
use cenote_fuse::wire::{EntryOut, Opcode, OpenIn, OpenOut, ROOT};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use zerocopy::{FromZeros, IntoBytes};

/// How long the client believes what it is told of, in seconds.
const LONG: u64 = 60;
const SHORT: u64 = 1;

struct Watched {
    share: Share,
    client: FakeClient,
    listener: Listener,
}

fn watched() -> Watched {
    watched_with(as_one_user())
}

fn watched_with(config: Config) -> Watched {
    let share = Share::new();
    let changes = Changes::new().unwrap();
    let directory = Passthrough::new(&share.inside, config).unwrap();
    let client = FakeClient::with(directory.with_changes(Arc::clone(&changes), 7));
    Watched {
        share,
        client,
        listener: changes.listen(),
    }
}

impl Watched {
    /// Somebody else does something in the shared directory.
    fn others(&self, script: &str) {
        others(&self.share.inside, script);
    }

    /// All that is told now.
    fn news(&mut self) -> Vec<News> {
        self.listener.collect().unwrap();
        let mut all = Vec::new();
        while let Some(news) = self.listener.news() {
            self.listener.told(&[]);
            all.push(news);
        }
        all
    }

    /// The same, as `directory: names` with a star behind a directory that has changed itself.
    fn told(&mut self) -> Vec<String> {
        let news = self.news().into_iter();
        let changes = news.flat_map(|news| match news {
            News::Changes(changes) => changes,
            News::Lost => panic!("the queue has overflowed"),
        });
        changes.map(|change| text(&change)).collect()
    }

    fn lookup(&mut self, parent: u64, name: &str) -> EntryOut {
        self.client.lookup(parent, name).unwrap()
    }
}

fn others(folder: &Path, script: &str) {
    let mut shell = Command::new("sh");
    let shell = shell.args(["-ec", script]).current_dir(folder);
    assert!(shell.status().unwrap().success(), "{script}");
}

fn text(change: &Change) -> String {
    assert_eq!(change.share, 7);
    let star = if change.itself { "*" } else { "" };
    let names = change.names.iter().map(|name| name.to_str().unwrap());
    let names = names.collect::<Vec<_>>().join(" ");
    let directory = std::str::from_utf8(&change.directory).unwrap();
    format!("{directory}{star}: {names}")
}

/// How long the name and the attributes are believed.
fn lifetimes(entry: &EntryOut) -> (u64, u64) {
    (entry.entry_valid, entry.attr_valid)
}

#[test]
fn each_kind_of_change_is_told_once() {
    let mut watched = watched();
    watched.others("echo one > f; echo two > g; mkdir d");
    watched.lookup(ROOT, "f");
    for (script, told) in [
        ("echo more >> f; echo more >> f", ": f"),
        ("chmod 600 f", ": f"),
        ("touch -d '2001-01-01' f", ": f"),
        ("truncate -s 100 f", ": f"),
        ("echo > new", "*: new"),
        ("mkdir newd; ln -s f link", "*: link newd"),
        ("mv new newer", "*: new newer"),
        ("mv g f", "*: f g"),
        ("rm f; rmdir d", "*: d f"),
        ("chmod 700 .", "*: "),
        ("cat newer > /dev/null; ls > /dev/null", ""),
    ] {
        watched.others(script);
        let expected: Vec<_> = [told].into_iter().filter(|told| !told.is_empty()).collect();
        assert_eq!(watched.told(), expected, "{script}");
    }
}

#[test]
fn what_the_client_does_itself_is_not_told() {
    let mut watched = watched();
    let made = watched.client.create(ROOT, "f", libc::O_RDWR).unwrap();
    watched.client.write(made.open.fh, 0, b"some data").unwrap();
    watched.client.mkdir(ROOT, "d").unwrap();
    watched.client.rename((ROOT, "f"), (ROOT, "g"), 0).unwrap();
    watched.client.unlink(ROOT, "g").unwrap();
    assert_eq!(watched.told(), [""; 0]);
    // It is noticed at all.
    watched.others("echo > other");
    assert_eq!(watched.told(), ["*: other"]);
}

#[test]
fn no_privilege_is_needed() {
    let without = || {
        let none = CapabilitySet::empty();
        let capabilities = CapabilitySets {
            effective: none,
            permitted: none,
            inheritable: none,
        };
        set_capabilities(None, capabilities).unwrap();
        let mut watched = watched();
        watched.client.create(ROOT, "own", libc::O_RDWR).unwrap();
        watched.others("echo > other");
        assert_eq!(lifetimes(&watched.lookup(ROOT, "own")), (LONG, LONG));
        assert_eq!(watched.told(), ["*: other"]);
    };
    std::thread::spawn(without).join().unwrap();
}

#[test]
fn what_one_client_does_is_told_to_another_of_the_same_process() {
    let mut watched = watched();
    let changes = Changes::new().unwrap();
    let both = |number| {
        let directory = Passthrough::new(&watched.share.inside, as_one_user()).unwrap();
        FakeClient::with(directory.with_changes(Arc::clone(&changes), number))
    };
    let (mut one, mut other) = (both(1), both(2));
    let mut listener = changes.listen();
    one.create(ROOT, "f", libc::O_RDWR).unwrap();
    other.lookup(ROOT, "f").unwrap();
    one.mkdir(ROOT, "d").unwrap();
    listener.collect().unwrap();
    let Some(News::Changes(told)) = listener.news() else {
        panic!("nothing is told");
    };
    let of: Vec<_> = told.iter().map(|change| change.share).collect();
    assert_eq!(of, [1, 2]);
    assert_eq!(told[1].names, [c"d".to_owned(), c"f".to_owned()]);
    assert_eq!(watched.told(), [""; 0], "that client knows nothing yet");
}

#[test]
fn what_comes_through_a_share_of_another_mode_is_told() {
    let mut watched = watched();
    watched.others("mkdir d");
    let changes = Changes::new().unwrap();
    let share = |folder: &str, cache| {
        let config = Config {
            cache,
            ..as_one_user()
        };
        let directory = Passthrough::new(&watched.share.inside.join(folder), config).unwrap();
        FakeClient::with(directory.with_changes(Arc::clone(&changes), 7))
    };
    let (mut whole, mut part) = (share("", Cache::Auto), share("d", Cache::Never));
    watched.listener = changes.listen();
    let d = whole.lookup(ROOT, "d").unwrap().node;
    whole.lookup(d, "f").unwrap();
    part.create(ROOT, "f", libc::O_RDWR).unwrap();
    assert_eq!(watched.told(), ["d*: f"]);
}

#[test]
fn names_and_attributes_live_long_while_somebody_listens() {
    let mut watched = watched();
    watched.others("echo > f; mkdir d");
    assert_eq!(lifetimes(&watched.lookup(ROOT, "f")), (LONG, LONG));
    let d = watched.lookup(ROOT, "d");
    assert_eq!(lifetimes(&d), (LONG, LONG));
    let absent = watched.lookup(ROOT, "nothing");
    assert_eq!((absent.node, absent.entry_valid), (0, LONG));
    let made = watched.client.create(d.node, "made", libc::O_RDWR).unwrap();
    assert_eq!(lifetimes(&made.entry), (LONG, LONG));

    drop(watched.listener);
    let mut client = watched.client;
    assert_eq!(
        lifetimes(&client.lookup(ROOT, "f").unwrap()),
        (SHORT, SHORT)
    );
    let absent = client.lookup(ROOT, "nothing");
    assert_eq!(absent.map(|_| ()), Err(rustix::io::Errno::NOENT));
}

#[test]
fn files_with_several_names_live_short() {
    let mut watched = watched();
    watched.others("echo > f; ln f g");
    assert_eq!(lifetimes(&watched.lookup(ROOT, "f")), (LONG, SHORT));
    watched.others("rm g");
    assert_eq!(lifetimes(&watched.lookup(ROOT, "f")), (LONG, LONG));
}

#[test]
fn other_modes_stay_as_they_are() {
    for (cache, only, lifetime) in [
        (Cache::Never, false, 0),
        (Cache::Metadata, false, 86_400),
        (Cache::Always, false, 86_400),
        (Cache::Auto, true, 0),
    ] {
        let mut watched = watched_with(Config {
            cache,
            only: only.then(|| c"f".to_owned()),
            ..as_one_user()
        });
        watched.others("echo > f");
        let entry = watched.lookup(ROOT, "f");
        assert_eq!(lifetimes(&entry), (lifetime, lifetime), "{cache:?}");
        watched.others("echo > g");
        assert_eq!(watched.told(), [""; 0], "{cache:?}");
    }
}

#[test]
fn a_directory_that_was_renamed_is_told_by_its_new_name() {
    let mut watched = watched();
    watched.others("mkdir -p a/b; echo > a/b/f");
    let a = watched.lookup(ROOT, "a");
    let b = watched.lookup(a.node, "b");
    watched.lookup(b.node, "f");
    watched.others("mv a/b c; echo >> c/f");
    assert_eq!(watched.told(), ["*: c", "a*: b", "c: f"]);
    // What is removed cannot be told, and need not be.
    watched.others("echo >> c/f; rm -r c");
    assert_eq!(watched.told(), ["*: c"]);
    // Nor what is somewhere else.
    watched.others("mv a ../outside/; echo > ../outside/a/f");
    assert_eq!(watched.told(), ["*: a"]);
    assert!(watched.share.outside.join("a/f").exists());
}

#[test]
fn a_file_that_was_moved_away_lives_short_until_it_is_found_again() {
    let mut watched = watched();
    watched.others("echo > f; mkdir d");
    let f = watched.lookup(ROOT, "f").node;
    let lifetime = |watched: &mut Watched| watched.client.attributes(f).unwrap().attr_valid;
    assert_eq!(lifetime(&mut watched), LONG);
    watched.others("mv f ../outside/f");
    watched.told();
    assert_eq!(lifetime(&mut watched), SHORT);
    watched.others("mv ../outside/f f");
    watched.lookup(ROOT, "f");
    assert_eq!(lifetime(&mut watched), LONG);
}

#[test]
fn what_was_missed_is_told_again_but_not_for_ever() {
    let mut watched = watched();
    watched.others("mkdir d; echo > d/f");
    let d = watched.lookup(ROOT, "d").node;
    watched.lookup(d, "f");
    watched.others("echo >> d/f; echo > g");
    watched.listener.collect().unwrap();
    let Some(News::Changes(changes)) = watched.listener.news() else {
        panic!("nothing is told");
    };
    assert_eq!(
        changes.iter().map(text).collect::<Vec<_>>(),
        ["*: g", "d: f"]
    );
    let inode = fs::metadata(watched.share.inside.join("d")).unwrap().ino();
    assert_eq!(changes[1].inode, inode);
    let mut again = 0;
    watched.listener.told(&[1, 99]);
    while let Some(news) = watched.listener.news() {
        let News::Changes(changes) = news else {
            panic!("it is lost");
        };
        assert_eq!(changes.iter().map(text).collect::<Vec<_>>(), ["d: f"]);
        again += 1;
        watched.listener.told(&[0]);
    }
    assert_eq!(again, 3);
}

#[test]
fn many_names_are_told_in_parts() {
    let mut watched = watched();
    watched.lookup(ROOT, "nothing");
    watched.others("seq 1000 | xargs touch");
    let news = watched.news();
    let parts = news.iter().map(|news| match news {
        News::Changes(changes) => changes.iter().map(|change| change.names.len()).sum(),
        News::Lost => panic!("it is lost"),
    });
    let parts: Vec<usize> = parts.collect();
    assert_eq!(parts, [256, 256, 256, 232]);
}

#[test]
fn too_many_names_are_as_good_as_all() {
    let mut watched = watched();
    watched.lookup(ROOT, "nothing");
    watched.others("seq 5000 | xargs touch");
    assert_eq!(watched.news(), [News::Lost]);
    watched.others("echo > after");
    assert_eq!(watched.told(), ["*: after"]);
}

#[test]
fn more_than_the_kernel_keeps_is_lost_and_said_to_be() {
    let mut watched = watched();
    watched.lookup(ROOT, "nothing");
    let limit = fs::read_to_string("/proc/sys/fs/fanotify/max_queued_events").unwrap();
    let more = limit.trim().parse::<usize>().unwrap() + 1;
    watched.others(&format!("seq {more} | xargs touch"));
    assert_eq!(watched.news(), [News::Lost]);
}

#[test]
fn above_the_limit_directories_are_not_watched() {
    let mut watched = watched_with(Config {
        descriptors: 6,
        ..as_one_user()
    });
    watched.others("mkdir a b c d; touch a/f b/f c/f d/f");
    let found = ["a", "b", "c", "d"].map(|name| watched.lookup(ROOT, name));
    // The root is one of three.
    let lived = found.map(|entry| entry.attr_valid);
    assert_eq!(lived, [LONG, LONG, SHORT, SHORT]);
    let names = found.map(|entry| watched.lookup(entry.node, "f").entry_valid);
    assert_eq!(names, [LONG, LONG, SHORT, SHORT]);
    // Whoever is forgotten makes room.
    watched.client.forget(found[0].node, u64::MAX);
    watched.client.forget(found[3].node, u64::MAX);
    assert_eq!(lifetimes(&watched.lookup(ROOT, "d")), (LONG, LONG));
}

#[test]
fn the_listener_is_readable_when_something_happened() {
    let mut watched = watched();
    watched.lookup(ROOT, "nothing");
    let wait = |listener: &Listener, timeout| {
        let mut ready = [PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
        poll(&mut ready, timeout).unwrap()
    };
    let now = rustix::event::Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    assert_eq!(wait(&watched.listener, Some(&now)), 0);
    watched.others("echo > f");
    assert_eq!(wait(&watched.listener, None), 1);
    assert_eq!(watched.told(), ["*: f"]);
}

#[test]
fn a_list_of_entries_is_kept_until_there_are_others() {
    let mut watched = watched();
    watched.others("echo > f");
    let keeps = |watched: &mut Watched| {
        let out: OpenOut = watched
            .client
            .get(Opcode::Opendir, ROOT, &[OpenIn::new_zeroed().as_bytes()])
            .unwrap();
        out.open_flags & OpenOut::KEEP_CACHE != 0
    };
    assert!(!keeps(&mut watched), "it was never listed");
    // Once the last change is older than the clocks of file systems are coarse.
    while !keeps(&mut watched) {}
    watched.others("echo > g");
    assert!(!keeps(&mut watched));
    while !keeps(&mut watched) {}
    drop(watched.listener);
    watched.listener = Changes::new().unwrap().listen();
    assert!(!keeps(&mut watched), "nobody listens");
}
