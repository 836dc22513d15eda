//! Threat: clients that lock each other out, or wait for ever and take the server with them.

use cenote_fuse::passthrough::{Config, Locks};
use cenote_fuse::testing::{FakeClient, Share, as_one_user};
use cenote_fuse::wire::{FileLock, FlushIn, InterruptIn, LkIn, LkOut, Opcode, ROOT};
use rustix::io::Errno;
use zerocopy::{FromZeros, IntoBytes};

fn client(share: &Share) -> (FakeClient, u64) {
    let config = Config {
        locks: Locks::Host,
        ..as_one_user()
    };
    let mut client = FakeClient::new(&share.inside, config);
    let fh = client.create(ROOT, "f", libc::O_RDWR).unwrap().open.fh;
    (client, fh)
}

fn lock(fh: u64, owner: u64, kind: i32, start: u64, end: u64) -> LkIn {
    let lk = FileLock {
        start,
        end,
        kind: kind as u32,
        pid: 1,
    };
    LkIn {
        fh,
        owner,
        lk,
        lk_flags: 0,
        padding: 0,
    }
}

fn set(client: &mut FakeClient, lock: &LkIn) -> Result<(), Errno> {
    client
        .send(Opcode::Setlk, ROOT, &[lock.as_bytes()])
        .map(|_| ())
}

#[test]
fn two_clients_see_each_others_locks() {
    let share = Share::new();
    let (mut one, one_fh) = client(&share);
    let (mut two, two_fh) = client(&share);
    set(&mut one, &lock(one_fh, 1, libc::F_WRLCK, 10, 19)).unwrap();
    set(&mut two, &lock(two_fh, 1, libc::F_WRLCK, 0, 9)).unwrap();
    let over = lock(two_fh, 1, libc::F_RDLCK, 19, 30);
    assert_eq!(set(&mut two, &over), Err(Errno::AGAIN));

    let found: LkOut = two.get(Opcode::Getlk, ROOT, &[over.as_bytes()]).unwrap();
    assert_eq!((found.lk.start, found.lk.end), (10, 19));
    assert_eq!(found.lk.kind, libc::F_WRLCK as u32);

    let mut close = FlushIn::new_zeroed();
    (close.fh, close.lock_owner) = (one_fh, 1);
    one.send(Opcode::Flush, ROOT, &[close.as_bytes()]).unwrap();
    assert_eq!(set(&mut two, &over), Ok(()));
}

#[test]
fn whoever_waits_is_answered_when_the_lock_is_free() {
    let share = Share::new();
    let (mut client, fh) = client(&share);
    set(&mut client, &lock(fh, 1, libc::F_WRLCK, 0, 9)).unwrap();
    let waits = lock(fh, 2, libc::F_WRLCK, 5, 5);
    client
        .send(Opcode::Setlkw, ROOT, &[waits.as_bytes()])
        .unwrap();
    let unique = client.last();
    // The thread is free for this meanwhile.
    set(&mut client, &lock(fh, 1, libc::F_UNLCK, 0, 9)).unwrap();
    assert_eq!(client.late(), (unique, Ok(())));
}

#[test]
fn a_lock_that_is_waited_for_outlives_a_close_by_its_owner() {
    let share = Share::new();
    let (mut client, fh) = client(&share);
    set(&mut client, &lock(fh, 1, libc::F_WRLCK, 0, 9)).unwrap();
    set(&mut client, &lock(fh, 2, libc::F_WRLCK, 20, 29)).unwrap();
    let waits = lock(fh, 2, libc::F_WRLCK, 0, 9);
    client
        .send(Opcode::Setlkw, ROOT, &[waits.as_bytes()])
        .unwrap();
    let unique = client.last();
    // Another thread of the owner closes one of its descriptors of the file.
    let mut close = FlushIn::new_zeroed();
    (close.fh, close.lock_owner) = (fh, 2);
    client
        .send(Opcode::Flush, ROOT, &[close.as_bytes()])
        .unwrap();
    set(&mut client, &lock(fh, 3, libc::F_WRLCK, 20, 29)).unwrap();
    set(&mut client, &lock(fh, 1, libc::F_UNLCK, 0, 9)).unwrap();
    assert_eq!(client.late(), (unique, Ok(())));
    let taken = lock(fh, 3, libc::F_WRLCK, 0, 9);
    assert_eq!(set(&mut client, &taken), Err(Errno::AGAIN));
}

#[test]
fn a_program_that_a_reader_locks_can_be_executed() {
    let share = Share::new();
    let program = share.inside.join("program");
    std::fs::copy("/bin/true", &program).unwrap();
    let config = Config {
        locks: Locks::Host,
        read_only: true,
        ..as_one_user()
    };
    let mut client = FakeClient::new(&share.inside, config);
    let node = client.lookup(ROOT, "program").unwrap().node;
    let fh = client.open(node, libc::O_RDONLY).unwrap();
    set(&mut client, &lock(fh, 1, libc::F_RDLCK, 0, 9)).unwrap();
    let mut whole = lock(fh, 1, libc::F_WRLCK, 0, 0);
    whole.lk_flags = LkIn::FLOCK;
    set(&mut client, &whole).unwrap();
    let ended = std::process::Command::new(&program).status().unwrap();
    assert!(ended.success());
}

#[test]
fn whoever_waits_can_be_interrupted() {
    let share = Share::new();
    let (mut client, fh) = client(&share);
    set(&mut client, &lock(fh, 1, libc::F_WRLCK, 0, 9)).unwrap();
    let waits = lock(fh, 2, libc::F_WRLCK, 0, 9);
    client
        .send(Opcode::Setlkw, ROOT, &[waits.as_bytes()])
        .unwrap();
    let unique = client.last();
    let interrupt = InterruptIn { unique };
    client
        .send(Opcode::Interrupt, 0, &[interrupt.as_bytes()])
        .unwrap();
    assert_eq!(client.late(), (unique, Err(Errno::INTR)));

    client
        .send(Opcode::Setlkw, ROOT, &[waits.as_bytes()])
        .unwrap();
    let unique = client.last();
    client.send(Opcode::Destroy, 0, &[]).unwrap();
    assert_eq!(client.late(), (unique, Err(Errno::INTR)));
}

#[test]
fn impossible_ranges_are_refused() {
    let share = Share::new();
    let (mut client, fh) = client(&share);
    for (kind, start, end) in [
        (libc::F_WRLCK, 9, 8),
        (libc::F_WRLCK, 0, u64::MAX),
        (77, 0, 1),
    ] {
        let wrong = lock(fh, 1, kind, start, end);
        assert_eq!(set(&mut client, &wrong), Err(Errno::INVAL));
    }
}

#[test]
fn without_them_the_client_is_told_to_see_for_itself() {
    let share = Share::new();
    let mut client = share.client();
    let fh = client.create(ROOT, "f", libc::O_RDWR).unwrap().open.fh;
    let local = lock(fh, 1, libc::F_WRLCK, 0, 9);
    assert_eq!(set(&mut client, &local), Err(Errno::NOSYS));
    let interrupt = InterruptIn { unique: 1 };
    assert_eq!(
        client.send(Opcode::Interrupt, 0, &[interrupt.as_bytes()]),
        Err(Errno::NOSYS)
    );
}
