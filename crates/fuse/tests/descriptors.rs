//! Threat: a client that knows more files than the host lets the server have open.

use std::fs;

use cenote_fuse::passthrough::Config;
use cenote_fuse::testing::{FakeClient, Share, as_one_user};
use cenote_fuse::wire::{CreateIn, CreateOut, Opcode, ROOT};
use rustix::io::Errno;
use rustix::process::Resource;
use rustix::thread::CapabilitySet;
use zerocopy::{FromZeros, IntoBytes};

const LIMIT: usize = 8;
const FILES: usize = 500;

fn open_below(share: &Share) -> usize {
    fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter(|path| path.starts_with(&share.inside))
        .count()
}

fn client_of_many(share: &Share) -> (FakeClient, Vec<u64>) {
    let mut client = FakeClient::new(
        &share.inside,
        Config {
            descriptors: LIMIT,
            ..as_one_user()
        },
    );
    let nodes = (0..FILES)
        .map(|number| {
            fs::write(share.inside.join(format!("f{number}")), number.to_string()).unwrap();
            client.lookup(ROOT, &format!("f{number}")).unwrap().node
        })
        .collect();
    (client, nodes)
}

/// Without CAP_DAC_READ_SEARCH, handles cannot be opened, and files are found again by name.
fn without_handles(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let mut sets = rustix::thread::capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::DAC_READ_SEARCH);
            rustix::thread::set_capabilities(None, sets).unwrap();
            test();
        });
        if let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn use_many() {
    let share = Share::new();
    let (mut client, nodes) = client_of_many(&share);
    let open = open_below(&share);
    assert!(open <= LIMIT + 2, "{open} descriptors are open");
    for (number, node) in nodes.iter().enumerate() {
        let fh = client.open(*node, libc::O_RDONLY).unwrap();
        assert_eq!(
            client.read(fh, 0, 16).unwrap(),
            number.to_string().as_bytes()
        );
        client.release(fh).unwrap();
    }
    let open = open_below(&share);
    assert!(open <= LIMIT + 2, "{open} descriptors are open");
}

#[test]
fn files_stay_usable_with_few_descriptors() {
    use_many();
}

#[test]
fn also_by_a_server_that_cannot_open_handles() {
    without_handles(use_many);
}

#[test]
fn names_are_followed_through_the_clients_renames() {
    without_handles(|| {
        let share = Share::new();
        let mut client = FakeClient::new(
            &share.inside,
            Config {
                descriptors: LIMIT,
                ..as_one_user()
            },
        );
        let deep = client.mkdir(ROOT, "a").unwrap().node;
        let deeper = client.mkdir(deep, "b").unwrap().node;
        let made = client.create(deeper, "f", libc::O_RDWR).unwrap();
        client.write(made.open.fh, 0, b"found").unwrap();
        client.release(made.open.fh).unwrap();
        client.rename((deep, "b"), (ROOT, "c"), 0).unwrap();
        client.rename((deeper, "f"), (deeper, "g"), 0).unwrap();
        for number in 0..100 {
            client.mkdir(ROOT, &format!("d{number}")).unwrap();
        }
        let fh = client.open(made.entry.node, libc::O_RDONLY).unwrap();
        assert_eq!(client.read(fh, 0, 16).unwrap(), b"found");
        client.release(fh).unwrap();

        // What the host renames has to be looked up anew, and is the same node then.
        for number in 0..100 {
            client.getattr(ROOT).unwrap();
            client.lookup(ROOT, &format!("d{number}")).unwrap();
        }
        fs::rename(share.inside.join("c"), share.inside.join("e")).unwrap();
        assert_eq!(client.getattr(deeper).unwrap_err(), Errno::STALE);
        assert_eq!(client.lookup(ROOT, "e").unwrap().node, deeper);
        assert!(client.getattr(made.entry.node).is_ok());
    });
}

#[test]
fn a_removed_file_that_is_open_stays() {
    without_handles(|| {
        let share = Share::new();
        let (mut client, nodes) = client_of_many(&share);
        let fh = client.open(nodes[0], libc::O_RDONLY).unwrap();
        client.unlink(ROOT, "f0").unwrap();
        for number in 0..100 {
            client.mkdir(ROOT, &format!("d{number}")).unwrap();
        }
        assert_eq!(client.getattr(nodes[0]).unwrap().nlink, 0);
        assert_eq!(client.read(fh, 0, 16).unwrap(), b"0");
    });
}

#[test]
fn a_node_is_still_the_same_file_under_another_name() {
    let share = Share::new();
    let (mut client, nodes) = client_of_many(&share);
    fs::rename(share.inside.join("f0"), share.inside.join("moved")).unwrap();
    assert_eq!(client.lookup(ROOT, "moved").unwrap().node, nodes[0]);
    assert!(client.getattr(nodes[0]).is_ok());
}

#[test]
fn a_file_that_is_gone_is_not_another_one() {
    let share = Share::new();
    let (mut client, nodes) = client_of_many(&share);
    fs::remove_file(share.inside.join("f0")).unwrap();
    // The number on disk may go to one of these.
    for number in 0..50 {
        fs::write(share.inside.join(format!("g{number}")), "other").unwrap();
        let new = client.lookup(ROOT, &format!("g{number}")).unwrap();
        assert_ne!(new.node, nodes[0]);
    }
    match client.open(nodes[0], libc::O_RDONLY) {
        Err(error) => assert_eq!(error, Errno::STALE),
        Ok(fh) => assert_eq!(client.read(fh, 0, 16).unwrap(), b"0", "still held open"),
    }
}

#[test]
fn files_without_names_leave_something_for_others() {
    without_handles(|| {
        let share = Share::new();
        let most = rustix::process::getrlimit(Resource::Nofile).maximum;
        let most = most.map_or(usize::MAX, |most| most as usize);
        let config = Config {
            // One directory of many has few descriptors.
            together: most / 512,
            ..as_one_user()
        };
        let mut client = FakeClient::new(&share.inside, config);
        let mut arguments = CreateIn::new_zeroed();
        (arguments.flags, arguments.mode) = (libc::O_RDWR as u32, 0o100_600);
        let mut nodes = Vec::new();
        let refused = loop {
            let made =
                client.get::<CreateOut>(Opcode::Tmpfile, ROOT, &[arguments.as_bytes(), b"/\0"]);
            match made {
                Ok(made) => client.release(made.open.fh).unwrap(),
                Err(error) => break error,
            }
            nodes.push(made.unwrap().entry.node);
            assert!(nodes.len() < 1024, "descriptors without end");
        };
        assert_eq!(refused, Errno::NFILE);
        assert_eq!(client.mkdir(ROOT, "d").unwrap_err(), Errno::NFILE);
        assert!(!share.inside.join("d").exists());
        assert!(client.getattr(nodes[0]).is_ok(), "what it has it keeps");
        client.forget(nodes[0], 1);
        assert!(client.mkdir(ROOT, "d").is_ok());
    });
}

#[test]
fn opening_without_end_leaves_something_for_others() {
    let share = Share::new();
    let mut client = share.client();
    let made = client.create(ROOT, "f", libc::O_RDONLY).unwrap();
    let refused = loop {
        if let Err(error) = client.open(made.entry.node, libc::O_RDONLY) {
            break error;
        }
    };
    assert_eq!(refused, Errno::NFILE);
    assert!(fs::File::open("/proc/self/status").is_ok());
    client.release(made.open.fh).unwrap();
    assert!(client.open(made.entry.node, libc::O_RDONLY).is_ok());
}
