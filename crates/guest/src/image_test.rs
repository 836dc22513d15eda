use super::*;

#[test]
fn further_devices_are_named_in_order() {
    let options = |first, devices, dax| {
        let tree = ErofsPlan {
            first,
            devices,
            dax,
        };
        erofs_options(&tree).into_string().unwrap()
    };
    assert_eq!(options(0, 1, true), "dax=always");
    assert_eq!(
        options(0, 3, false),
        "dax=never,device=/dev/pmem1,device=/dev/pmem2"
    );
    assert_eq!(
        options(7, 3, true),
        "dax=always,device=/dev/pmem8,device=/dev/pmem9"
    );
    assert!(options(u32::MAX - MAX_DEVICES, MAX_DEVICES, true).len() < 4096);
}

#[test]
fn an_image_of_no_device_is_refused() {
    let error = mount_erofs(
        &ErofsPlan {
            first: 0,
            devices: 0,
            dax: true,
        },
        Path::new("/nonexistent"),
    )
    .unwrap_err();
    assert_eq!(
        (error.on.as_str(), error.errno),
        ("0", rustix::io::Errno::INVAL)
    );
}
