use super::*;

#[test]
fn a_mount_is_without_devices_and_set_user_id_unless_asked() {
    let plain = MountFlags::NOSUID | MountFlags::NODEV;
    assert_eq!(parse(""), (plain, vec![]));
    assert_eq!(parse("rw,suid,dev"), (MountFlags::empty(), vec![]));
    assert_eq!(
        parse("ro,noexec"),
        (plain | MountFlags::RDONLY | MountFlags::NOEXEC, vec![])
    );
}

#[test]
fn what_the_file_system_reads_itself_is_left_to_it() {
    assert_eq!(
        parse("size=64m,noexec,mode=700,uid=3").1,
        ["size=64m", "mode=700", "uid=3"]
    );
}
