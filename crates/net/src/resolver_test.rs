use std::net::Ipv4Addr;
use std::path::Path;

use proptest::prelude::*;

use super::{MAX_BYTES, MAX_NAMESERVERS, MAX_SEARCH, ResolverConfig};

#[test]
fn nameservers_and_search_are_taken_and_the_rest_is_skipped() {
    let config = ResolverConfig::parse(
        "# comment\n; another\nnameserver 192.0.2.53\nnameserver\t198.51.100.1 # second\n\
         nameserver 2001:db8::1\nnameserver ::ffff:192.0.2.54\nnameserver nonsense\nnameserver\noptions ndots:5\n\
         domain first.example\nsearch example.com sub.example.com\n",
    );
    assert_eq!(
        config.nameservers,
        [
            Ipv4Addr::new(192, 0, 2, 53),
            Ipv4Addr::new(198, 51, 100, 1),
            Ipv4Addr::new(192, 0, 2, 54)
        ]
    );
    assert_eq!(config.search, ["example.com", "sub.example.com"]);
}

#[test]
fn no_more_are_taken_than_a_resolver_uses() {
    let many = "nameserver 192.0.2.1\n".repeat(9) + "search a b c d e f g h\n";
    let config = ResolverConfig::parse(&many);
    assert_eq!(config.nameservers.len(), MAX_NAMESERVERS);
    assert_eq!(config.search.len(), MAX_SEARCH);
}

#[test]
fn a_search_domain_cannot_smuggle_a_line() {
    let config = ResolverConfig::parse("search good.example ev\u{b}il bad\"quote ünicode\n");
    assert_eq!(config.search, ["good.example"]);
}

#[test]
fn a_host_without_the_file_has_no_resolver() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(
        ResolverConfig::read(&folder.path().join("absent")).unwrap(),
        ResolverConfig::default()
    );
    let error = ResolverConfig::read(folder.path()).unwrap_err();
    assert!(
        error.to_string().contains(folder.path().to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn an_endless_file_is_read_up_to_the_limit() {
    let config = ResolverConfig::read(Path::new("/dev/zero")).unwrap();
    assert_eq!(config, ResolverConfig::default());
    const { assert!(MAX_BYTES < 1 << 20) };
}

proptest! {
    #[test]
    fn any_text_is_survived(text in "(nameserver|search|domain|\\PC{0,9}|[ \n.0-9]){0,40}") {
        let config = ResolverConfig::parse(&text);
        prop_assert!(config.nameservers.len() <= MAX_NAMESERVERS);
        prop_assert!(config.search.iter().all(|domain| !domain.contains(char::is_whitespace)));
    }
}
