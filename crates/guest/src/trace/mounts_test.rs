use super::*;

#[test]
fn fuse_mounts_are_found() {
    let found = fuse_mount("36 35 0:45 / /data rw,noatime shared:1 - virtiofs share0 rw");
    let expected = TracedMount {
        connection: 45,
        source: "share0".into(),
        target: "/data".into(),
    };
    assert_eq!(found, Some(expected));
    let over_vsock = fuse_mount("36 35 0:46 /file /etc/file ro - fuse cenote rw,user_id=0");
    assert_eq!(over_vsock.map(|mount| mount.connection), Some(46));
}

#[test]
fn others_are_not() {
    for line in [
        "36 35 0:45 / /data rw - tmpfs tmpfs rw",
        "36 35 8:1 / /data rw - fuse /dev/sda1 rw",
        "36 35 0:x / /data rw - fuse share0 rw",
        "36 35 0:45 - fuse share0 rw",
        "36 35 0:45 / /data rw",
        "",
    ] {
        assert_eq!(fuse_mount(line), None, "{line}");
    }
}
