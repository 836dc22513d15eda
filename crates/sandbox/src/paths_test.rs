use std::path::PathBuf;

use super::{Error, Paths};

fn chosen(uid: u32, set: &[(&str, &str)]) -> Result<Paths, Error> {
    Paths::chosen(uid, |name| {
        set.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| PathBuf::from(value))
    })
}

#[test]
fn root_uses_the_system_folders() {
    let paths = chosen(0, &[("HOME", "/root"), ("XDG_RUNTIME_DIR", "/run/user/0")]).unwrap();
    assert_eq!(
        paths,
        Paths {
            data: "/var/lib/cenote".into(),
            runtime: "/run/cenote".into(),
            outer: None,
        }
    );
}

#[test]
fn a_user_gets_the_base_directories() {
    let paths = chosen(
        1000,
        &[("HOME", "/home/u"), ("XDG_RUNTIME_DIR", "/run/user/1000")],
    )
    .unwrap();
    assert_eq!(
        paths,
        Paths {
            data: "/home/u/.local/share/cenote".into(),
            runtime: "/run/user/1000/cenote".into(),
            outer: None,
        }
    );
}

#[test]
fn a_user_without_a_runtime_folder_gets_one_of_their_own() {
    let paths = chosen(1000, &[("HOME", "/home/u")]).unwrap();
    assert_eq!(paths.runtime, PathBuf::from("/tmp/cenote-1000"));
}

#[test]
fn the_environment_overrides_both() {
    let paths = chosen(0, &[("CENOTE_DATA", "/d"), ("CENOTE_RUNTIME", "/r")]).unwrap();
    assert_eq!(
        paths,
        Paths {
            data: "/d".into(),
            runtime: "/r".into(),
            outer: None,
        }
    );
}

#[test]
fn nowhere_to_go_is_an_error() {
    assert!(matches!(chosen(1000, &[]), Err(Error::NoHome)));
}
