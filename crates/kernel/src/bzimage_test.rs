use proptest::prelude::*;

use super::{Error, unpack};

/// A bzImage with one set-up sector and `payload` right after it.
fn image(payload: &[u8]) -> Vec<u8> {
    let mut image = vec![0u8; 1024];
    image[0x1f1] = 1;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x206].copy_from_slice(b"HdrS");
    image[0x206..0x208].copy_from_slice(&0x020f_u16.to_le_bytes());
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.extend_from_slice(payload);
    image
}

fn payload(kernel: &[u8], claimed: u32) -> Vec<u8> {
    let mut payload = zstd::encode_all(kernel, 0).unwrap();
    payload.extend_from_slice(&claimed.to_le_bytes());
    payload
}

fn intact() -> Vec<u8> {
    image(&payload(b"the kernel", 10))
}

#[test]
fn the_kernel_comes_out() {
    assert_eq!(unpack(&intact()).unwrap(), b"the kernel");
}

#[test]
fn no_set_up_sectors_means_four() {
    let mut image = intact();
    image[0x1f1] = 0;
    image.splice(1024..1024, vec![0; 3 * 512]);
    assert_eq!(unpack(&image).unwrap(), b"the kernel");
}

#[test]
fn what_has_no_boot_header_is_refused() {
    assert_eq!(unpack(b""), Err(Error::Header));
    assert_eq!(unpack(b"\x7fELF"), Err(Error::Header));
    let mut image = intact();
    image[0x202] = b'X';
    assert_eq!(unpack(&image), Err(Error::Header));
}

#[test]
fn an_old_protocol_is_refused() {
    let mut image = intact();
    image[0x206] = 0x07;
    assert_eq!(unpack(&image), Err(Error::Protocol(0x0207)));
}

#[test]
fn a_payload_outside_the_file_is_refused() {
    let mut image = intact();
    let (size, length) = (image.len() as u64, u64::from(u32::MAX));
    image[0x24c..0x250].fill(0xff);
    assert_eq!(
        unpack(&image),
        Err(Error::Payload {
            offset: 1024,
            length,
            size
        })
    );
    image[0x248..0x24c].fill(0xff);
    assert_eq!(
        unpack(&image),
        Err(Error::Payload {
            offset: 1024 + length,
            length,
            size
        })
    );
}

#[test]
fn another_compression_is_refused() {
    assert_eq!(
        unpack(&image(b"\x1f\x8b gzip....")),
        Err(Error::Compression)
    );
    assert_eq!(unpack(&image(b"")), Err(Error::Compression));
}

#[test]
fn a_size_that_is_not_the_kernels_is_refused() {
    assert_eq!(
        unpack(&image(&payload(b"the kernel", u32::MAX))),
        Err(Error::TooLarge(u32::MAX))
    );
    for claimed in [9, 11] {
        assert!(matches!(
            unpack(&image(&payload(b"the kernel", claimed))),
            Err(Error::Damaged(_))
        ));
    }
}

proptest! {
    #[test]
    fn damage_is_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..10)) {
        let mut image = intact();
        for (index, value) in changes {
            let at = index.index(image.len());
            image[at] = value;
        }
        if let Ok(kernel) = unpack(&image) {
            prop_assert!(kernel.len() <= super::MAX_VMLINUX as usize);
        }
    }
}
