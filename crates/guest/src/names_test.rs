use super::*;

#[test]
fn hosts_name_the_container_at_its_address() {
    let entries = [HostEntry {
        address: [10, 0, 2, 2].into(),
        name: "host.containers.internal".into(),
    }];
    assert_eq!(
        hosts_file("web", Some([10, 0, 2, 15].into()), &entries),
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.2.15\tweb\n\
         10.0.2.2\thost.containers.internal\n"
    );
    assert!(hosts_file("web", None, &[]).ends_with("\n127.0.0.1\tweb\n"));
}

#[test]
fn the_resolver_gets_only_what_the_plan_has() {
    assert_eq!(resolv_file(&DnsPlan::default()), "");
    let dns = DnsPlan {
        servers: vec![[10, 0, 2, 3].into(), "fd00::3".parse().unwrap()],
        search: vec!["a.example".into(), "b.example".into()],
        options: vec!["ndots:1".into()],
    };
    assert_eq!(
        resolv_file(&dns),
        "nameserver 10.0.2.3\nnameserver fd00::3\nsearch a.example b.example\noptions ndots:1\n"
    );
}
