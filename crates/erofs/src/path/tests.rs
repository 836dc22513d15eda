use super::*;

fn reason(path: &[u8]) -> &'static str {
    match check(path) {
        Err(WriteError::Path { reason, .. }) => reason,
        other => panic!("{other:?}"),
    }
}

#[test]
fn ordinary_paths_and_the_root_pass() {
    for path in [&b""[..], b"a", b"usr/bin/[", b"...", b".wh", &[b'x'; 255]] {
        check(path).unwrap();
    }
}

#[test]
fn each_rule_refuses_by_name() {
    assert_eq!(reason(b"a//b"), "has an empty name in it");
    assert_eq!(reason(b"/etc"), "has an empty name in it");
    assert_eq!(reason(b"a/"), "has an empty name in it");
    assert_eq!(reason(b"a/../b"), "has a '.' or '..' in it");
    assert_eq!(reason(b"./a"), "has a '.' or '..' in it");
    assert_eq!(reason(&[b'x'; 256]), "has a name of more than 255 bytes");
    assert_eq!(reason(b"a\0b"), "has a NUL byte in it");
    assert_eq!(reason(&b"a/".repeat(2048)), "has more than 4095 bytes");
}

#[test]
fn splitting_finds_the_parent() {
    assert_eq!(split(b""), None);
    assert_eq!(split(b"a"), Some((&b""[..], &b"a"[..])));
    assert_eq!(split(b"a/b/c"), Some((&b"a/b"[..], &b"c"[..])));
    assert_eq!(names(b"").count(), 0);
}
