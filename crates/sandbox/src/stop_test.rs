use std::ffi::OsStr;
use std::process::{Child, Command};
use std::time::Duration;

use crate::sandbox::{Error, Sandbox};
use crate::state::State;
use crate::store::tests::{spec, store};

/// `program` with `arguments`, which holds the sandbox's lock and has no socket yet, as a monitor in its first moments.
fn young_monitor(sandbox: &Sandbox, program: &str, arguments: &[&OsStr]) -> Child {
    let lock = sandbox.file("lock");
    let monitor = Command::new("flock")
        .arg("--no-fork")
        .arg(&lock)
        .arg(program)
        .args(arguments)
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
    let mut monitor = young_monitor(&sandbox, "sleep", &["1000".as_ref()]);
    sandbox.stop(Duration::from_secs(1)).unwrap();
    assert!(!monitor.wait().unwrap().success());
    assert_eq!(sandbox.state(), State::Dead);
}

#[test]
fn a_killed_monitor_s_children_are_gone_as_well() {
    let (folder, store) = store();
    let sandbox = store.create(&spec("a")).unwrap();
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        0o600.into(),
        0,
    )
    .unwrap();
    // The child, which does not hold the lock, takes a while to end once the monitor is gone, and says when it has.
    let script = r#"
        exec 4<>"$0" 5<"$0"
        (exec 3>&- 4>&-; : >"$0.ready"; read -r gone <&5
         count=0; while [ $count -lt 100000 ]; do count=$((count + 1)); done; : >"$0.ended") &
        exec sleep 1000"#;
    let mut monitor = young_monitor(
        &sandbox,
        "sh",
        &["-c".as_ref(), script.as_ref(), pipe.as_os_str()],
    );
    while !folder.path().join("pipe.ready").exists() {
        std::thread::yield_now();
    }
    sandbox.kill_machine().unwrap();
    assert!(folder.path().join("pipe.ended").exists());
    monitor.wait().unwrap();
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
