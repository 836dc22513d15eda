//! Threat: a client that writes more than its server may. The limit is the whole process's, so this has a program of its own.

use cenote_fuse::passthrough::Config;
use cenote_fuse::testing::{FakeClient, Share};
use cenote_fuse::wire::ROOT;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Far above what the test itself writes to a log.
const LIMIT: u64 = 1 << 30;

#[test]
fn a_file_longer_than_the_limit_is_an_error() {
    let share = Share::new();
    let mut client = FakeClient::new(&share.inside, Config::default());
    let made = client.create(ROOT, "f", libc::O_RDWR).unwrap();
    let maximum = getrlimit(Resource::Fsize).maximum;
    let limit = Rlimit {
        current: Some(LIMIT),
        maximum,
    };
    setrlimit(Resource::Fsize, limit).unwrap();
    assert_eq!(client.write(made.open.fh, LIMIT - 5, b"short"), Ok(5));
    assert_eq!(client.write(made.open.fh, LIMIT, b"long"), Err(Errno::FBIG));
}
