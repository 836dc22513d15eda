//! Threat: a client that knows more files than the host lets the server have open.

use std::fs;

use cenote_fuse::passthrough::Config;
use cenote_fuse::testing::{FakeClient, Share, as_one_user};
use cenote_fuse::wire::ROOT;
use rustix::io::Errno;

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

/// Whether handles can be opened: only with CAP_DAC_READ_SEARCH. Without it, descriptors stay open.
fn privileged() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn files_stay_usable_with_few_descriptors() {
    let share = Share::new();
    let (mut client, nodes) = client_of_many(&share);
    if privileged() {
        let open = open_below(&share);
        assert!(open <= LIMIT + 2, "{open} descriptors are open");
    }
    for (number, node) in nodes.iter().enumerate() {
        let fh = client.open(*node, libc::O_RDONLY).unwrap();
        assert_eq!(
            client.read(fh, 0, 16).unwrap(),
            number.to_string().as_bytes()
        );
        client.release(fh).unwrap();
    }
    if privileged() {
        let open = open_below(&share);
        assert!(open <= LIMIT + 2, "{open} descriptors are open");
    }
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
