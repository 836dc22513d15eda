use std::process::{Child, Command};
use std::time::Duration;

use crate::sandbox::{Error, Sandbox};
use crate::state::State;
use crate::store::tests::{spec, store};

/// A process that holds the sandbox's lock and has no socket yet, as a monitor in its first moments.
fn young_monitor(sandbox: &Sandbox) -> Child {
    let lock = sandbox.file("lock");
    let monitor = Command::new("flock")
        .arg("--no-fork")
        .arg(&lock)
        .args(["sleep", "1000"])
        .spawn()
        .unwrap();
    // Only with the lock taken is it a monitor.
    while sandbox
        .lock(rustix::fs::FlockOperation::NonBlockingLockShared)
        .is_ok()
    {
        std::thread::yield_now();
    }
    let state = State::Starting {
        monitor: monitor.id().try_into().unwrap(),
    };
    sandbox.write_state(&state).unwrap();
    monitor
}

#[test]
fn a_monitor_that_has_no_socket_yet_is_stopped_all_the_same() {
    let (_folder, store) = store();
    let sandbox = store.create(&spec("a")).unwrap();
    let mut monitor = young_monitor(&sandbox);
    sandbox.stop(Duration::from_secs(1)).unwrap();
    assert!(!monitor.wait().unwrap().success());
    assert_eq!(sandbox.state(), State::Dead);
}

#[test]
fn what_does_not_run_is_left_as_it_is() {
    let (_folder, store) = store();
    let sandbox = store.create(&spec("a")).unwrap();
    sandbox.stop(Duration::from_secs(1)).unwrap();
    sandbox.kill_machine().unwrap();
    assert!(matches!(
        sandbox.kill(15),
        Err(Error::NotRunning {
            state: "created",
            ..
        })
    ));
    assert_eq!(sandbox.state(), State::Created);
}
