use super::*;

#[test]
fn good_and_bad_names() {
    for good in ["a", "web-1", "A.b_c", "9lives", &"x".repeat(63)] {
        assert_eq!(good.parse(), Ok(Name(good.to_owned())));
    }
    for bad in [
        "",
        "-a",
        ".a",
        "_a",
        "a b",
        "a/b",
        "ä",
        "..",
        &"x".repeat(64),
    ] {
        assert_eq!(bad.parse::<Name>(), Err(BadName(bad.to_owned())));
    }
}

#[test]
fn generated_names_are_names_and_differ_by_attempt() {
    for seed in [0, 1, 31, 32, 1023, u64::MAX] {
        let Name(first) = generated(seed, 0);
        let Name(second) = generated(seed, 1);
        assert_eq!(first.parse(), Ok(Name(first.clone())));
        assert_eq!(second.parse(), Ok(Name(second.clone())));
        assert_ne!(first, second);
    }
}
