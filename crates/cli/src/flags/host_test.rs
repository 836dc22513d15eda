use super::*;

#[test]
fn names_with_addresses() {
    for (text, name, address) in [
        ("db:192.0.2.7", "db", "192.0.2.7"),
        ("a.b:127.0.0.1", "a.b", "127.0.0.1"),
    ] {
        let expected = HostEntry {
            name: name.to_owned(),
            address: address.parse().unwrap(),
        };
        assert_eq!(text.parse(), Ok(expected));
    }
}

#[test]
fn anything_that_could_write_another_line_is_refused() {
    for text in [
        "db",
        ":1.2.3.4",
        "a b:1.2.3.4",
        "a\nb:1.2.3.4",
        "db:host-gateway",
        "db:1.2.3",
        "db:::1",
    ] {
        assert_eq!(text.parse::<HostEntry>(), Err(BadHost(text.to_owned())));
    }
}
