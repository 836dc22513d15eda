use std::io;
use std::path::Path;

use super::guest::{End, Error, Step};
use super::{Probe, decide, not_opened, probe_device};

fn why(end: Result<End, Error>) -> String {
    match decide(end) {
        Probe::Unusable { why } => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn only_a_guest_that_did_everything_and_halted_is_believed() {
    assert_eq!(
        decide(Ok(End::Halted {
            last: Some(Step::Done)
        })),
        Probe::Usable
    );
    assert_eq!(
        why(Ok(End::Halted {
            last: Some(Step::Started)
        })),
        "the test guest halted early, at: cmpxchg16b"
    );
    assert_eq!(
        why(Ok(End::Halted { last: None })),
        "the test guest halted early, before its first step"
    );
}

#[test]
fn a_guest_that_is_stopped_names_the_instruction() {
    let end = End::Stopped {
        exit: "KVM_EXIT_INTERNAL_ERROR".to_owned(),
        last: Some(Step::Started),
    };
    assert_eq!(
        why(Ok(end)),
        "the test guest was stopped (KVM_EXIT_INTERNAL_ERROR) at: cmpxchg16b"
    );
    let end = End::Stopped {
        exit: "a triple fault".to_owned(),
        last: Some(Step::ControlRegister),
    };
    assert_eq!(
        why(Ok(end)),
        "the test guest was stopped (a triple fault) at: rdmsr and wrmsr"
    );
}

#[test]
fn a_guest_that_hangs_is_unusable() {
    let end = End::TimedOut {
        last: Some(Step::Exchanged),
    };
    assert_eq!(
        why(Ok(end)),
        "the test guest did not end within 20 s, at: a write to control register 4"
    );
    assert_eq!(
        why(Err(Error::Stuck)),
        "the test guest's vCPU cannot be interrupted"
    );
}

#[test]
fn a_device_that_cannot_be_opened_says_why() {
    assert_eq!(not_opened(&io::ErrorKind::NotFound.into()), Probe::Missing);
    assert!(matches!(
        not_opened(&io::ErrorKind::PermissionDenied.into()),
        Probe::NoPermission { .. }
    ));
    assert!(matches!(
        not_opened(&io::Error::from_raw_os_error(libc::ENODEV)),
        Probe::Unusable { .. }
    ));
}

#[test]
fn a_missing_device_and_one_that_is_no_kvm() {
    assert_eq!(probe_device(Path::new("/nonexistent/kvm")), Probe::Missing);
    assert!(matches!(
        probe_device(Path::new("/dev/null")),
        Probe::Unusable { .. }
    ));
}
