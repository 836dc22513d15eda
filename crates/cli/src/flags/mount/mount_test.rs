use cenote_sandbox::mount::{Cache, IdMap, Locks, Sharing};

use super::*;

fn volume(text: &str) -> Result<MountFlag, BadMount> {
    text.parse().map(|VolumeFlag(flag)| flag)
}

fn pairs(text: &str) -> Result<MountFlag, BadMount> {
    text.parse().map(|PairsFlag(flag)| flag)
}

fn plain(source: SourceFlag, target: &str) -> MountFlag {
    MountFlag {
        source,
        target: target.to_owned(),
        options: Options::default(),
    }
}

fn path(path: &str) -> SourceFlag {
    SourceFlag::Path(path.to_owned())
}

fn named(name: &str) -> SourceFlag {
    SourceFlag::Volume(Some(name.to_owned()))
}

#[test]
fn sources_are_paths_names_or_nothing() {
    for (text, source, target) in [
        (".:/src", path("."), "/src"),
        ("./a b:/src", path("./a b"), "/src"),
        ("../up:/src/", path("../up"), "/src"),
        ("/etc/hosts:/etc/hosts", path("/etc/hosts"), "/etc/hosts"),
        ("pg:/var/lib/pg", named("pg"), "/var/lib/pg"),
        ("/data", SourceFlag::Volume(None), "/data"),
        (".hidden://a/./b/../c//", path(".hidden"), "/a/c"),
    ] {
        assert_eq!(volume(text), Ok(plain(source, target)), "{text}");
    }
    let anonymous = "0123456789abcdef".repeat(4);
    let again = volume(&format!("{anonymous}:/x"));
    assert_eq!(again, Ok(plain(named(&anonymous), "/x")));
}

#[test]
fn options_in_any_order() {
    let typed = volume("pg:/d:noexec,cache=never,ro,idmap=none,locks=host,nocopy,Z,rprivate");
    let options = Options {
        read_only: true,
        words: vec!["noexec".to_owned()],
        sharing: Sharing {
            cache: Cache::Never,
            idmap: IdMap::None,
            locks: Locks::Host,
        },
        copy: false,
    };
    assert_eq!(typed.unwrap().options, options);
    assert!(!volume(".:/d:ro,rw").unwrap().options.read_only);
    assert_eq!(volume(".:/d:").unwrap().options, Options::default());
}

#[test]
fn what_is_no_volume_is_named_with_the_remedy() {
    let refused = |text: &str| volume(text).unwrap_err();
    for text in ["", ":", "a:", ":/b", ".::ro", "a:/b:ro:x"] {
        assert_eq!(refused(text), BadMount::Format(text.to_owned()), "{text}");
    }
    for (text, at) in [(".:src", "src"), ("src", "src"), (".:./x", "./x")] {
        assert_eq!(refused(text), BadMount::Relative(at.to_owned()), "{text}");
    }
    for (text, at) in [(".:/", "/"), (".:/a/..", "/a/.."), (".:/proc/x", "/proc/x")] {
        assert_eq!(refused(text), BadMount::Target(at.to_owned()), "{text}");
    }
    let error = refused("src/sub:/src");
    assert_eq!(error, BadMount::Source("src/sub".to_owned()));
    assert!(error.to_string().contains("./src/sub"));
    assert!(matches!(refused(".:/d:frob"), BadMount::Option(..)));
    assert!(matches!(refused(".:/d:size=1m"), BadMount::Option(..)));
    for option in ["U", "O", "rshared", "dax=always"] {
        let error = refused(&format!(".:/d:{option}"));
        assert!(matches!(error, BadMount::NotSupported(word, _) if word == option));
    }
    for option in ["cache=sometimes", "idmap=uids=0-1-2", "locks=", "cache="] {
        let error = refused(&format!(".:/d:{option}"));
        assert!(matches!(error, BadMount::Value(..)), "{option}: {error}");
    }
}

#[test]
fn pairs_say_the_same_at_length() {
    for (text, source, target) in [
        ("type=bind,source=.,target=/src", path("."), "/src"),
        ("type=bind,src=a:b,dst=/src", path("a:b"), "/src"),
        ("target=/d,source=pg", named("pg"), "/d"),
        ("type=volume,destination=/d", SourceFlag::Volume(None), "/d"),
        ("type=tmpfs,target=/t", SourceFlag::Tmpfs, "/t"),
    ] {
        assert_eq!(pairs(text), Ok(plain(source, target)), "{text}");
    }
    let tmpfs = pairs("type=tmpfs,dst=/t,tmpfs-size=64m,tmpfs-mode=1700,ro,noexec").unwrap();
    assert_eq!(tmpfs.options.words, ["size=64m", "mode=1700", "noexec"]);
    assert!(tmpfs.options.read_only);
    let bind = pairs("type=bind,src=.,dst=/d,readonly=true,bind-propagation=rprivate,cache=always");
    let bind = bind.unwrap().options;
    assert!(bind.read_only && bind.sharing.cache == Cache::Always);
}

#[test]
fn what_is_no_mount_is_named() {
    let refused = |text: &str| pairs(text).unwrap_err();
    assert_eq!(
        refused("type=bind,dst=/d"),
        BadMount::Missing("bind", "source")
    );
    assert_eq!(
        refused("type=bind,src=."),
        BadMount::Missing("bind", "target")
    );
    assert_eq!(
        refused("type=image,dst=/d"),
        BadMount::Type("image".to_owned())
    );
    assert!(matches!(
        refused("type=tmpfs,src=x,dst=/d"),
        BadMount::Option(..)
    ));
    assert!(matches!(
        refused("type=tmpfs,dst=/d,cache=never"),
        BadMount::Option(..)
    ));
    assert!(matches!(
        refused("type=volume,src=a/b,dst=/d"),
        BadMount::Source(_)
    ));
    assert!(matches!(
        refused("type=bind,src=.,dst=/d,frob"),
        BadMount::Option(..)
    ));
}
