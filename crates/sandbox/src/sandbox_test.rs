use std::io::Write;
use std::thread;

use rustix::fs::FlockOperation;

use super::{Error, Sandbox};
use crate::state::State;
use crate::store::tests::{spec, store};

fn exited(code: u8) -> State {
    State::Exited {
        code,
        started: None,
        finished: 1,
        error: None,
    }
}

fn running() -> State {
    State::Running {
        monitor: 1,
        started: 1,
    }
}

/// A sandbox as a monitor that is this test leaves it.
fn monitored(sandbox: &Sandbox) -> std::fs::File {
    let lock = sandbox
        .lock(FlockOperation::NonBlockingLockExclusive)
        .unwrap();
    sandbox.write_state(&running()).unwrap();
    lock
}

#[test]
fn running_without_a_monitor_is_dead() {
    let (_folder, store) = store();
    let sandbox = store.create(&spec("a")).unwrap();
    let lock = monitored(&sandbox);
    assert_eq!(sandbox.state(), running());
    drop(lock);
    assert_eq!(sandbox.state(), State::Dead);
    assert_eq!(sandbox.wait().unwrap(), 137);
    sandbox.remove(false).unwrap();
}

#[test]
fn a_running_sandbox_is_not_removed() {
    let (_folder, store) = store();
    let sandbox = store.create(&spec("a")).unwrap();
    let _lock = monitored(&sandbox);
    assert!(matches!(
        sandbox.remove(false),
        Err(Error::Running {
            state: "running",
            ..
        })
    ));
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn whoever_waits_learns_the_code_even_of_a_sandbox_that_is_gone() {
    let (_folder, store) = store();
    let sandbox = store.create(&spec("a")).unwrap();
    let mut lock = monitored(&sandbox);
    let waiter = {
        let sandbox = sandbox.clone();
        let opened = sandbox.open_lock().unwrap();
        thread::spawn(move || sandbox.wait_on(&opened))
    };
    lock.write_all(&[42]).unwrap();
    sandbox.write_state(&exited(42)).unwrap();
    sandbox.delete(false).unwrap();
    drop(lock);
    assert_eq!(waiter.join().unwrap().unwrap(), 42);
    assert_eq!(store.list().unwrap().len(), 0);
}
