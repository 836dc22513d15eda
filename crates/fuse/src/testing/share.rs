//! A shared directory with something beside it that no client may touch.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use tempfile::TempDir;

use super::{FakeClient, me};
use crate::passthrough::{Config, Ids, Locks, Passthrough};
use crate::server::Server;

/// `inside` is shared; `outside` has a file `secret`. Both go when it is dropped.
#[derive(Debug)]
#[expect(missing_docs, reason = "said above")]
pub struct Share {
    _folder: TempDir,
    pub inside: PathBuf,
    pub outside: PathBuf,
}

impl Share {
    /// A new one.
    ///
    /// # Panics
    ///
    /// If it cannot be made.
    #[expect(clippy::new_without_default, reason = "it makes folders")]
    pub fn new() -> Share {
        let folder = tempfile::tempdir().expect("a folder");
        let (inside, outside) = (folder.path().join("inside"), folder.path().join("outside"));
        fs::create_dir(&inside).expect("a folder to share");
        fs::create_dir(&outside).expect("a folder beside it");
        fs::write(outside.join("secret"), "secret").expect("a file beside it");
        Share {
            _folder: folder,
            inside,
            outside,
        }
    }

    /// One with a file `a` and a folder `d`, and a server of it that holds locks on the host.
    pub(super) fn served() -> (Share, Arc<Server>) {
        let share = Share::new();
        fs::write(share.inside.join("a"), "some data").expect("a file");
        fs::create_dir(share.inside.join("d")).expect("a folder");
        let config = Config {
            locks: Locks::Host,
            ..as_one_user()
        };
        let directory = Passthrough::new(&share.inside, config).expect("the directory");
        (share, Arc::new(Server::new(directory)))
    }

    /// A client of a server that acts as the user who runs the test.
    pub fn client(&self) -> FakeClient {
        FakeClient::new(&self.inside, as_one_user())
    }

    /// That nothing happened outside.
    ///
    /// # Panics
    ///
    /// If something did.
    pub fn assert_outside_untouched(&self) {
        let beside = fs::read_dir(&self.outside).expect("it is there");
        assert_eq!(beside.count(), 1, "something was made or removed outside");
        let secret = fs::read_to_string(self.outside.join("secret"));
        assert_eq!(secret.expect("it is there"), "secret");
    }
}

/// The server acts as the user who runs the test.
pub fn as_one_user() -> Config {
    Config {
        ids: Ids::one(me(), me()),
        ..Config::default()
    }
}
