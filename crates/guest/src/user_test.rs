use proptest::prelude::*;

use super::*;

const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\n::7:7::/:\nweb:x:33:33:www:/var/www:/bin/false\n\
                      1000:x:5:5::/odd:\nnohome:x:40:40:::\n";
const GROUP: &str = "root:x:0:\nstaff:x:50:root,web\nvideo:x:44:web\nnobody:x:x:web\n1234:x:9:\n";

fn identity(uid: u32, gid: u32, groups: &[u32], home: &str) -> Result<Identity, UserError> {
    Ok(Identity {
        uid,
        gid,
        groups: groups.to_vec(),
        home: home.into(),
    })
}

#[test]
fn names_and_numbers_are_found_with_their_groups() {
    let resolve = |user| resolve_in(user, PASSWD, GROUP);
    assert_eq!(resolve(""), identity(0, 0, &[50], "/root"));
    assert_eq!(resolve("web"), identity(33, 33, &[50, 44], "/var/www"));
    assert_eq!(resolve("33"), identity(33, 33, &[50, 44], "/var/www"));
    assert_eq!(resolve("nohome"), identity(40, 40, &[], "/"));
}

#[test]
fn an_explicit_group_replaces_the_others() {
    let resolve = |user| resolve_in(user, PASSWD, GROUP);
    assert_eq!(resolve("web:video"), identity(33, 44, &[], "/var/www"));
    assert_eq!(resolve("web:4711"), identity(33, 4711, &[], "/var/www"));
    assert_eq!(resolve(":staff"), identity(0, 50, &[], "/root"));
    assert_eq!(resolve("web:"), identity(33, 33, &[50, 44], "/var/www"));
}

#[test]
fn a_name_goes_before_a_number() {
    assert_eq!(
        resolve_in("1000", PASSWD, GROUP),
        identity(5, 5, &[], "/odd")
    );
    assert_eq!(
        resolve_in("web:1234", PASSWD, GROUP),
        identity(33, 9, &[], "/var/www")
    );
}

#[test]
fn numbers_need_no_entry_but_names_do() {
    assert_eq!(resolve_in("4000", "", ""), identity(4000, 0, &[], "/"));
    assert_eq!(
        resolve_in("4000:4001", "", ""),
        identity(4000, 4001, &[], "/")
    );
    assert_eq!(
        resolve_in("ghost", PASSWD, GROUP),
        Err(UserError::NoUser("ghost".into()))
    );
    assert_eq!(
        resolve_in("web:ghosts", PASSWD, GROUP),
        Err(UserError::NoGroup("ghosts".into()))
    );
    assert_eq!(
        resolve_in("4294967296", PASSWD, GROUP),
        Err(UserError::NoUser("4294967296".into()))
    );
}

#[test]
fn a_fifo_in_place_of_the_file_is_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passwd");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    assert_eq!(read(Path::new("/"), &path), "");
    assert_eq!(read(Path::new("/"), Path::new("/nonexistent/passwd")), "");
}

proptest! {
    #[test]
    fn no_file_breaks_the_lookup(user in "[a-z0-9:]{0,8}", passwd in "([a-z0-9:,]{0,30}\n){0,6}", group in ".{0,60}") {
        let _ = resolve_in(&user, &passwd, &group);
    }
}
