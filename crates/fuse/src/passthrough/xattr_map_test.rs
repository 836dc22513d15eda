use super::*;

fn map() -> XattrMap {
    XattrMap::new(vec![
        Rule::Hide("trusted.".to_owned()),
        Rule::Prefix {
            client: "security.".to_owned(),
            host: "user.guest.".to_owned(),
        },
    ])
}

fn to_host(name: &CStr) -> Option<String> {
    let name = map().to_host(name).unwrap()?;
    Some(name.to_str().unwrap().to_owned())
}

#[test]
fn the_first_rule_that_fits_decides() {
    assert_eq!(to_host(c"user.x"), Some("user.x".to_owned()));
    assert_eq!(to_host(c"trusted.x"), None);
    assert_eq!(
        to_host(c"security.capability"),
        Some("user.guest.security.capability".to_owned())
    );
}

#[test]
fn what_is_mapped_cannot_be_named_as_it_is_kept() {
    assert_eq!(to_host(c"user.guest.security.capability"), None);
    assert_eq!(
        map().to_client(b"security.capability"),
        None,
        "the host's own"
    );
}

#[test]
fn names_come_back_as_they_went() {
    for name in [c"user.x", c"security.capability", c"security."] {
        let host = to_host(name).unwrap();
        assert_eq!(map().to_client(host.as_bytes()), Some(name.to_bytes()));
    }
    assert_eq!(map().to_client(b"trusted.x"), None);
}
