use super::super::depends;
use super::super::tests::elf;
use super::{SIGNATURE_INFO, SIGNATURE_MARK, btf_size_field, strip};

fn signed(mut module: Vec<u8>, claimed: u32, signature: &[u8]) -> Vec<u8> {
    module.extend_from_slice(signature);
    module.extend_from_slice(&[0; SIGNATURE_INFO - 4]);
    module.extend_from_slice(&claimed.to_be_bytes());
    module.extend_from_slice(SIGNATURE_MARK);
    module
}

#[test]
fn signature_and_types_go_and_the_rest_stays() {
    let plain = elf(b"depends=a\0", b"types");
    let mut module = signed(plain.clone(), 9, b"signature");
    strip(&mut module).unwrap();
    let size = btf_size_field(&plain).unwrap().unwrap();
    assert_eq!(plain[size], 5);
    let mut expected = plain;
    expected[size] = 0;
    assert_eq!(module, expected);
    assert_eq!(depends("x", &module).unwrap(), ["a"]);
}

#[test]
fn an_unsigned_module_keeps_its_length() {
    let mut module = elf(b"depends=\0", b"");
    let length = module.len();
    strip(&mut module).unwrap();
    assert_eq!(module.len(), length);
}

#[test]
fn a_signature_longer_than_the_file_is_left_alone() {
    let mut module = signed(elf(b"depends=\0", b""), u32::MAX, b"");
    let length = module.len();
    strip(&mut module).unwrap();
    assert_eq!(module.len(), length);
}
