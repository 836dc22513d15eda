//! What an observer learns of a request's life.

use std::sync::{Arc, Mutex};

use cenote_fuse::passthrough::Passthrough;
use cenote_fuse::server::{Observer, Served, Server};
use cenote_fuse::testing::{FakeClient, Share, as_one_user};
use cenote_fuse::wire::{Opcode, ROOT};
use rustix::io::Errno;

#[derive(Debug, Clone, Default)]
struct Kept(Arc<Mutex<Vec<Served>>>);

impl Observer for Kept {
    fn served(&self, served: &Served) {
        self.0.lock().unwrap().push(*served);
    }
}

#[test]
fn every_request_is_told_of_once_and_in_order() {
    let share = Share::new();
    let kept = Kept::default();
    let directory = Passthrough::new(&share.inside, as_one_user()).unwrap();
    let server = Server::new(directory).with_observer(Arc::new(kept.clone()));
    let mut client = FakeClient::of(server);
    client.mkdir(ROOT, "d").unwrap();
    client.lookup(ROOT, "none").unwrap_err();
    let mut unknown = client.message(Opcode::Lookup, ROOT, &[]);
    unknown[4..8].copy_from_slice(&7u32.to_ne_bytes());
    client.send_raw(&unknown).unwrap().unwrap_err();

    let lives = kept.0.lock().unwrap();
    let told: Vec<_> = lives.iter().map(|life| (life.opcode, life.error)).collect();
    assert_eq!(
        told,
        [
            (Some(Opcode::Init), None),
            (Some(Opcode::Mkdir), None),
            (Some(Opcode::Lookup), Some(Errno::NOENT)),
            (None, Some(Errno::NOSYS)),
        ]
    );
    for life in lives.iter() {
        assert!(life.arrived <= life.begun && life.begun <= life.done);
        assert_eq!(life.uid, client.uid);
    }
}
