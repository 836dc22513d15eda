use std::io;

use super::{Error, Group, depends, order};

/// A relocatable ELF file with the given `.modinfo` and `.BTF` sections.
pub(super) fn elf(modinfo: &[u8], btf: &[u8]) -> Vec<u8> {
    const NAMES: &[u8] = b"\0.modinfo\0.BTF\0.shstrtab\0";
    const HEADER: usize = 64;
    let (info_at, btf_at) = (HEADER, HEADER + modinfo.len());
    let names_at = btf_at + btf.len();
    let table = (names_at + NAMES.len()).next_multiple_of(8);
    let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    file.extend([1, 0, 62, 0, 1, 0, 0, 0]); // ET_REL, EM_X86_64, EV_CURRENT
    file.extend([0; 16]); // entry, program headers
    file.extend((table as u64).to_le_bytes());
    file.extend([0, 0, 0, 0, 64, 0, 56, 0, 0, 0, 64, 0, 4, 0, 3, 0]); // sizes; 4 sections, names in 3
    file.extend_from_slice(modinfo);
    file.extend_from_slice(btf);
    file.extend_from_slice(NAMES);
    file.resize(table, 0);
    for (name, kind, offset, size) in [
        (0u32, 0u32, 0, 0),
        (1, 1, info_at, modinfo.len()),
        (10, 1, btf_at, btf.len()),
        (15, 3, names_at, NAMES.len()),
    ] {
        file.extend(name.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend([0; 16]); // flags, address
        file.extend((offset as u64).to_le_bytes());
        file.extend((size as u64).to_le_bytes());
        file.extend([0; 8]); // link, info
        file.extend(1u64.to_le_bytes());
        file.extend([0; 8]);
    }
    file
}

fn module(depends: &str) -> Vec<u8> {
    elf(
        format!("license=GPL\0depends={depends}\0name=x\0").as_bytes(),
        b"types",
    )
}

/// Every module that a guest asks for without dependencies of its own, but for `changed`.
fn kernel(changed: &[(&str, &str)]) -> impl Fn(&str) -> io::Result<Option<Vec<u8>>> {
    let mut modules: Vec<(String, String)> = Vec::new();
    for name in Group::ALL.iter().flat_map(|group| group.modules()) {
        modules.push(((*name).to_owned(), String::new()));
    }
    for (name, depends) in changed {
        modules.retain(|(old, _)| old != name);
        modules.push(((*name).to_owned(), (*depends).to_owned()));
    }
    move |name| {
        Ok(modules
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, depends)| module(depends)))
    }
}

#[test]
fn a_module_comes_after_what_it_depends_on() {
    let load = kernel(&[
        ("virtio_net", "net_failover"),
        ("net_failover", "failover"),
        ("failover", ""),
    ]);
    let names: Vec<String> = order(load)
        .unwrap()
        .into_iter()
        .map(|module| module.name)
        .collect();
    let place = |name: &str| names.iter().position(|other| other == name).unwrap();
    assert!(
        place("failover") < place("net_failover") && place("net_failover") < place("virtio_net")
    );
}

#[test]
fn a_shared_dependency_is_loaded_once_in_the_first_group() {
    let load = kernel(&[
        ("vmw_vsock_virtio_transport", "shared"),
        ("erofs", "shared"),
        ("shared", ""),
    ]);
    let order = order(load).unwrap();
    let shared: Vec<Group> = order
        .iter()
        .filter(|module| module.name == "shared")
        .map(|module| module.group)
        .collect();
    assert_eq!(shared, [Group::Vsock]);
}

#[test]
fn a_missing_dependency_names_both() {
    let error = order(kernel(&[("erofs", "netfs")])).unwrap_err();
    assert_eq!(
        error.to_string(),
        "module netfs, which erofs needs, is not in the packages"
    );
}

#[test]
fn a_circle_is_an_error() {
    let load = kernel(&[("erofs", "a"), ("a", "b"), ("b", "a")]);
    assert!(matches!(order(load), Err(Error::Circle(name)) if name == "a"));
}

#[test]
fn names_in_depends_are_canonical() {
    assert_eq!(
        depends("x", &module("net-failover,vsock")).unwrap(),
        ["net_failover", "vsock"]
    );
    assert_eq!(depends("x", &module("")).unwrap(), [] as [&str; 0]);
}

#[test]
fn what_is_no_module_is_an_error() {
    let whole = module("a");
    for damaged in [&whole[..0], &whole[..40], &whole[..100], b"#!/bin/sh\n"] {
        assert!(matches!(depends("x", damaged), Err(Error::Damaged { name, .. }) if name == "x"));
    }
}

#[test]
fn an_endless_chain_is_an_error() {
    let load = |name: &str| {
        let next = name
            .strip_prefix('m')
            .map_or(0, |number| number.parse::<u32>().unwrap() + 1);
        Ok(Some(module(&format!("m{next}"))))
    };
    assert!(matches!(order(load), Err(Error::Deep(name)) if name == "m63"));
}
