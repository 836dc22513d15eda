use super::*;

#[test]
fn prefixes_become_masks() {
    assert_eq!(netmask(0), Some(Ipv4Addr::new(0, 0, 0, 0)));
    assert_eq!(netmask(20), Some(Ipv4Addr::new(255, 255, 240, 0)));
    assert_eq!(netmask(32), Some(Ipv4Addr::new(255, 255, 255, 255)));
    assert_eq!(netmask(33), None);
}

#[test]
fn a_long_name_keeps_its_end() {
    assert_eq!(
        request("an-interface-of-a-long-name").ifr_name[libc::IFNAMSIZ - 1],
        0
    );
}
