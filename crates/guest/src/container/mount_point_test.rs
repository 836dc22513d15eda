use std::os::unix::fs::symlink;

use super::*;

/// A root in a folder of its own, beside a folder that no path may lead to.
fn root() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir(folder.path().join("outside")).unwrap();
    (folder, root)
}

fn found(root: &Path, target: &str) -> Result<String, Errno> {
    let path = resolve(root, Path::new(target))?;
    let inside = path.strip_prefix(root).unwrap();
    Ok(inside.to_str().unwrap().to_owned())
}

#[test]
fn plain_paths_are_as_they_are_written() {
    let (_folder, root) = root();
    for (target, place) in [
        ("/a", "a"),
        ("/a/b/", "a/b"),
        ("//a/./b", "a/b"),
        ("/new/deep/er", "new/deep/er"),
        ("/a/../c", "c"),
        ("/../../../a", "a"),
    ] {
        assert_eq!(found(&root, target).as_deref(), Ok(place), "{target}");
    }
    for target in ["/", "//", "/a/..", "/.."] {
        assert_eq!(found(&root, target), Err(Errno::INVAL), "{target}");
    }
}

#[test]
fn links_lead_nowhere_but_within_the_root() {
    let (folder, root) = root();
    symlink("/a", root.join("absolute")).unwrap();
    symlink("../../../../outside", root.join("up")).unwrap();
    symlink(folder.path().join("outside"), root.join("out")).unwrap();
    symlink("a/b", root.join("relative")).unwrap();
    symlink("../dangling/end", root.join("a/b/dangles")).unwrap();
    let outside = folder.path().join("outside");
    let outside = outside.to_str().unwrap().trim_start_matches('/');
    for (target, place) in [
        ("/absolute/b", "a/b"),
        ("/up", "outside"),
        ("/out", outside),
        ("/relative/x", "a/b/x"),
        ("/a/b/dangles/more", "a/dangling/end/more"),
    ] {
        assert_eq!(found(&root, target).as_deref(), Ok(place), "{target}");
    }
}

#[test]
fn links_that_go_round_are_an_error() {
    let (_folder, root) = root();
    symlink("two", root.join("one")).unwrap();
    symlink("one", root.join("two")).unwrap();
    assert_eq!(found(&root, "/one/x"), Err(Errno::LOOP));
    assert_eq!(found(&root, "/a/../one"), Err(Errno::LOOP));
}

#[test]
fn what_is_missing_is_made() {
    let (_folder, root) = root();
    make(&root.join("x/y"), true).unwrap();
    assert!(root.join("x/y").is_dir());
    make(&root.join("z/file"), false).unwrap();
    assert!(root.join("z/file").is_file());
    // A file in the way is no folder.
    assert!(make(&root.join("z/file/below"), true).is_err());
    assert!(make(&root.join("z/file"), false).is_err());
}
