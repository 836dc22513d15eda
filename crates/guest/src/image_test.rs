use super::*;

#[test]
fn further_devices_are_named_in_order() {
    let options = |pmem_devices, dax| {
        image_options(&RootPlan { pmem_devices, dax })
            .into_string()
            .unwrap()
    };
    assert_eq!(options(1, true), "dax=always");
    assert_eq!(
        options(3, false),
        "dax=never,device=/dev/pmem1,device=/dev/pmem2"
    );
    assert!(options(MAX_DEVICES, true).len() < 4096);
}

#[test]
fn an_image_of_no_device_is_refused() {
    let error = mount_image(
        &RootPlan {
            pmem_devices: 0,
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
