use super::*;

#[test]
fn string_array_and_nothing() {
    let list = |words: &[&str]| Entrypoint(words.iter().map(|word| (*word).to_owned()).collect());
    assert_eq!(Entrypoint::from("/bin/sh"), list(&["/bin/sh"]));
    assert_eq!(
        Entrypoint::from(r#"["/bin/sh", "-c"]"#),
        list(&["/bin/sh", "-c"])
    );
    assert_eq!(Entrypoint::from("[not json"), list(&["[not json"]));
    assert_eq!(Entrypoint::from("[1]"), list(&["[1]"]));
    assert_eq!(Entrypoint::from(""), list(&[]));
    assert_eq!(Entrypoint::from("[]"), list(&[]));
}
