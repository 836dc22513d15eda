use super::*;
use proptest::prelude::*;

/// FIPS 180-4, the example message "abc".
const ABC: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn the_standard_example_has_the_standard_digest() {
    assert_eq!(Digest::of(b"abc").to_string(), ABC);
    assert_eq!(Digest::of(b"abc").short(), "ba7816bf8f01");
    assert_eq!(ABC.parse(), Ok(Digest::of(b"abc")));
}

#[test]
fn a_reader_hashes_what_passes() {
    let mut reader = HashingReader::new(&b"abc"[..]);
    io::copy(&mut reader, &mut io::sink()).unwrap();
    assert_eq!(reader.finish(), (Digest::of(b"abc"), 3));
}

#[test]
fn one_broken_thing_at_a_time_is_refused() {
    let sha512 = ABC.replace("sha256", "sha512");
    assert_eq!(
        sha512.parse::<Digest>(),
        Err(DigestError::Algorithm(sha512))
    );
    for bad in [
        ABC[..ABC.len() - 1].to_owned(),
        format!("{ABC}0"),
        ABC.replace("ba78", "BA78"),
        ABC.replace("ba78", "ga78"),
        ABC.replace("ba7", "bä"),
    ] {
        assert_eq!(bad.parse::<Digest>(), Err(DigestError::Form(bad)));
    }
}

proptest! {
    #[test]
    fn text_and_digest_are_one_to_one(bytes: [u8; 32]) {
        let digest = Digest(bytes);
        prop_assert_eq!(digest.to_string().parse(), Ok(digest));
    }

    #[test]
    fn no_text_panics(text: String) {
        if let Ok(digest) = text.parse::<Digest>() {
            prop_assert_eq!(digest.to_string(), text);
        }
    }
}
