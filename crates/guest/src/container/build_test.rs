use super::*;

fn shown(options: &str) -> (MountFlags, String) {
    let (flags, data) = tmpfs_options(options).unwrap();
    (flags, data.into_string().unwrap())
}

#[test]
fn a_tmpfs_is_without_devices_and_set_user_id_unless_asked() {
    let plain = MountFlags::NOSUID | MountFlags::NODEV;
    assert_eq!(shown(""), (plain, "mode=1777".into()));
    assert_eq!(
        shown("rw,suid,dev"),
        (MountFlags::empty(), "mode=1777".into())
    );
    assert_eq!(
        shown("ro,noexec"),
        (
            plain | MountFlags::RDONLY | MountFlags::NOEXEC,
            "mode=1777".into()
        )
    );
}

#[test]
fn what_tmpfs_reads_itself_is_passed_on() {
    assert_eq!(
        shown("size=64m,mode=700,uid=3").1,
        "mode=1777,size=64m,mode=700,uid=3"
    );
    assert_eq!(tmpfs_options("size=1\0").unwrap_err(), Errno::INVAL);
}
