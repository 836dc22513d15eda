use super::*;
use proptest::prelude::*;

const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

fn full(text: &str) -> String {
    text.parse::<Reference>().unwrap().to_string()
}

#[test]
fn short_names_become_complete() {
    assert_eq!(full("busybox"), "docker.io/library/busybox:latest");
    assert_eq!(
        full("index.docker.io/busybox"),
        "docker.io/library/busybox:latest"
    );
    assert_eq!(full("me/app:v1.2-3_x"), "docker.io/me/app:v1.2-3_x");
    assert_eq!(full("localhost/busybox"), "localhost/busybox:latest");
    assert_eq!(full("localhost:5000/a/b"), "localhost:5000/a/b:latest");
    assert_eq!(full("[::1]:5000/a"), "[::1]:5000/a:latest");
    assert_eq!(full("quay.io/a__b/c-d.e"), "quay.io/a__b/c-d.e:latest");
}

#[test]
fn a_digest_decides_over_a_tag() {
    let expected = format!("quay.io/a/b@{DIGEST}");
    assert_eq!(full(&format!("quay.io/a/b@{DIGEST}")), expected);
    assert_eq!(full(&format!("quay.io/a/b:tag@{DIGEST}")), expected);
}

#[test]
fn a_name_without_a_registry_is_local_first() {
    let names = |text| -> Vec<_> {
        let candidates = Reference::candidates(text).unwrap();
        candidates.iter().map(Reference::to_string).collect()
    };
    assert_eq!(
        names("busybox"),
        [
            "localhost/busybox:latest",
            "docker.io/library/busybox:latest"
        ]
    );
    assert_eq!(
        names("me/app:1"),
        ["localhost/me/app:1", "docker.io/me/app:1"]
    );
    assert_eq!(names("quay.io/app"), ["quay.io/app:latest"]);
}

#[test]
fn each_part_is_checked() {
    let error = |text: &str| text.parse::<Reference>().unwrap_err();
    assert!(matches!(error(""), ReferenceError::NoRepository(_)));
    assert!(matches!(error("quay.io/"), ReferenceError::NoRepository(_)));
    for bad in [
        "a//b", "a/", "-a", "a-", "a..b", "a___b", "a._b", "a b", "é", "/x", "aB",
    ] {
        assert!(
            matches!(error(bad), ReferenceError::Repository { .. }),
            "{bad}"
        );
    }
    for bad in [
        "a:",
        "a:.x",
        "a:-x",
        "a:ü",
        &format!("a:{}", "x".repeat(129)),
    ] {
        assert!(matches!(error(bad), ReferenceError::Tag { .. }), "{bad}");
    }
    for bad in [
        "a..b/x",
        "a.b:port/x",
        "a.b:65536/x",
        "-a.b/x",
        "[::g]/x",
        "[::1]x/y",
        "a.b:/x",
    ] {
        assert!(
            matches!(error(bad), ReferenceError::Registry { .. }),
            "{bad}"
        );
    }
    assert!(matches!(
        error("a@sha256:00"),
        ReferenceError::Digest { .. }
    ));
    assert_eq!(error(&"a".repeat(800)), ReferenceError::TooLong(800));
}

proptest! {
    #[test]
    fn the_complete_form_is_a_fixed_point(text in "([a-z]{1,4}(\\.[a-z]{2})?(:[0-9]{1,4})?/)?[a-z0-9._/-]{1,12}(:[A-Za-z0-9._-]{1,6})?") {
        if let Ok(reference) = text.parse::<Reference>() {
            prop_assert_eq!(reference.to_string().parse(), Ok(reference));
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC*") {
        let _ = text.parse::<Reference>();
        let _ = Reference::candidates(&text);
    }
}
