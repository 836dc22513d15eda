use std::path::Path;

use clap::Parser;

use super::*;

#[derive(Parser)]
struct Probe {
    #[command(flatten)]
    flags: ContainerFlags,
}

fn mounts(args: &[&str]) -> Result<Vec<Mount>, MountError> {
    let line = std::iter::once(&"run").chain(args).chain(&["image"]);
    let probe = Probe::try_parse_from(line).unwrap_or_else(|error| panic!("{error}"));
    typed(&probe.flags)
}

fn targets(mounts: &[Mount]) -> Vec<&str> {
    mounts.iter().map(|mount| mount.target.as_str()).collect()
}

#[test]
fn relative_paths_are_of_the_current_folder() {
    let mounts = mounts(&["-v", ".:/src", "-v", "./src/../src:/other:ro"]).unwrap();
    let here = env::current_dir().unwrap();
    assert!(matches!(&mounts[1].source, Source::Bind { path, .. } if *path == here));
    let other = Path::new(&here).join("src/../src");
    assert!(matches!(&mounts[0].source, Source::Bind { path, .. } if *path == other));
    assert!(mounts[0].read_only && !mounts[1].read_only);
}

#[test]
fn mounts_lie_behind_those_that_they_are_in() {
    let typed = mounts(&[
        "-v",
        "c:/a-b",
        "-v",
        "x:/a/b/c",
        "--tmpfs",
        "/a/",
        "--mount",
        "type=tmpfs,dst=/a/b,ro",
    ]);
    let typed = typed.unwrap();
    assert_eq!(targets(&typed), ["/a", "/a/b", "/a/b/c", "/a-b"]);
    assert!(typed[1].read_only);
}

#[test]
fn no_place_is_covered_twice() {
    for args in [
        &["-v", "a:/d", "-v", "b:/d/"][..],
        &["-v", "a:/d", "--tmpfs", "/d"],
        &["-v", "/d", "--mount", "type=tmpfs,dst=/./d"],
    ] {
        let error = mounts(args).unwrap_err();
        assert_eq!(error.to_string(), "/d: duplicate mount destination");
    }
}

#[test]
fn what_is_not_there_cannot_be_shared() {
    let error = mounts(&["-v", "/no/such:/d"]).unwrap_err().to_string();
    assert!(
        error.starts_with("statfs /no/such: No such file"),
        "{error}"
    );
}

#[test]
fn volumes_without_a_name_are_each_their_own() {
    let mounts = mounts(&["-v", "/one", "--mount", "type=volume,dst=/two"]).unwrap();
    let [one, two] = &mounts[..] else {
        panic!("{mounts:?}")
    };
    assert_ne!(one.source, two.source);
    assert!(matches!(
        one.source,
        Source::Volume {
            anonymous: true,
            ..
        }
    ));
}

#[test]
fn a_read_only_root_gets_places_to_write_where_nothing_else_is() {
    let mut mounts = mounts(&["-v", "mine:/data", "--tmpfs", "/tmp:size=1m"]).unwrap();
    let declared = [
        "/data/".to_owned(),
        "/var/lib/x".to_owned(),
        "bad".to_owned(),
    ];
    for_read_only_root(&mut mounts, declared.iter());
    assert_eq!(
        targets(&mounts),
        ["/data", "/run", "/tmp", "/var/lib/x", "/var/tmp"]
    );
    assert_eq!(mounts[2].options, "size=1m");
    assert!(
        matches!(&mounts[3].source, Source::Volume { name, anonymous: true, .. } if name.len() == 64)
    );
}
