use super::*;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::LocalModes;

/// A controller and its terminal.
fn terminal() -> (OwnedFd, OwnedFd) {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let path = ptsname(&controller, Vec::new()).unwrap();
    let terminal = rustix::fs::open(path, OFlags::RDWR | OFlags::NOCTTY, Mode::empty()).unwrap();
    (controller, terminal)
}

fn echoes(terminal: &OwnedFd) -> bool {
    termios::tcgetattr(terminal)
        .unwrap()
        .local_modes
        .contains(LocalModes::ECHO)
}

#[test]
fn raw_while_the_guard_lives() {
    let (_controller, terminal) = terminal();
    assert!(echoes(&terminal));
    let guard = RawMode::enter(&terminal).unwrap();
    assert!(guard.is_some() && !echoes(&terminal));
    drop(guard);
    assert!(echoes(&terminal));
}

#[test]
fn a_panic_restores_it_too() {
    let (_controller, terminal) = terminal();
    let inner = terminal.try_clone().unwrap();
    let panicked = std::thread::spawn(move || {
        let _guard = RawMode::enter(&inner).unwrap();
        assert!(echoes(&inner), "a panic on purpose");
    });
    assert!(panicked.join().is_err());
    assert!(echoes(&terminal));
}

#[test]
fn a_file_needs_nothing() {
    assert!(
        RawMode::enter(tempfile::tempfile().unwrap())
            .unwrap()
            .is_none()
    );
}
