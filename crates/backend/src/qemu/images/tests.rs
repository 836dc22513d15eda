use super::*;

const GIB: u64 = 1 << 30;

#[test]
fn memory_devices_begin_after_all_ram() {
    // As `info mtree` of QEMU shows it for `-machine q35 -m size=…,maxmem=…`.
    for (ram, start) in [
        (GIB / 2, 4 * GIB),
        (LOW_RAM - 1, 4 * GIB),
        (LOW_RAM, 5 * GIB),
        (4 * GIB, 6 * GIB),
        (8 * GIB + (1 << 20), 11 * GIB),
    ] {
        assert_eq!(after_ram(ram), start, "{ram:#x} bytes of RAM");
    }
}

#[test]
fn images_lie_one_after_the_other() {
    let dir = tempfile::TempDir::new().unwrap();
    let files: Vec<_> = [2, 4, 2]
        .iter()
        .enumerate()
        .map(|(number, size)| {
            let path = dir.path().join(number.to_string());
            File::create(&path).unwrap().set_len(size << 20).unwrap();
            path
        })
        .collect();
    let images = place(files.iter(), GIB).unwrap();
    let addresses: Vec<_> = images.iter().map(|image| image.address).collect();
    let start = 4 * GIB;
    assert_eq!(addresses, [start, start + (2 << 20), start + (6 << 20)]);
    assert_eq!(
        format!("{:x?}", windows(&images).unwrap()),
        "[100000000..100200000, 100200000..100600000, 100600000..100800000]"
    );
}

#[test]
fn an_image_of_an_odd_length_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(4096).unwrap();
    let path = file.path().to_owned();
    let error = place([&path].into_iter(), GIB).unwrap_err();
    assert!(matches!(error, Error::Unaligned { length: 4096, .. }));
}
