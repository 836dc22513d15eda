use super::*;

#[test]
fn settings_are_files_below_proc_sys() {
    assert_eq!(
        sysctl_path("net.ipv4.ip_forward").unwrap(),
        "/proc/sys/net/ipv4/ip_forward"
    );
    assert_eq!(
        sysctl_path("net.ipv4.conf.eth0/1.forwarding").unwrap(),
        "/proc/sys/net/ipv4/conf/eth0.1/forwarding"
    );
}

#[test]
fn settings_cannot_name_other_files() {
    for name in ["", "kernel..", "..x", "//.1.mem"] {
        assert_eq!(sysctl_path(name).unwrap_err().errno, Errno::INVAL, "{name}");
    }
}
