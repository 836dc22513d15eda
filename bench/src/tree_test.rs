use std::process::Command;

use super::Tree;

#[test]
fn parts_hold_every_path_once() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("a")).unwrap();
    for name in ["a/one", "a/two", "three"] {
        std::fs::write(source.join(name), vec![b'x'; 1000]).unwrap();
    }
    let mut tree = Tree::default();
    tree.add(&source, u64::MAX).unwrap();
    assert_eq!((tree.files, tree.bytes, tree.paths.len()), (3, 3000, 5));
    let mut packed = Vec::new();
    for part in tree.pack(folder.path(), 3).unwrap() {
        let listing = Command::new("tar").arg("-tzf").arg(&part).output().unwrap();
        packed.push(String::from_utf8(listing.stdout).unwrap().lines().count());
    }
    assert_eq!(packed, [3, 1, 1]);
}

#[test]
fn a_tree_ends_when_it_is_large_enough() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["one", "two", "three"] {
        std::fs::write(folder.path().join(name), vec![b'x'; 1000]).unwrap();
    }
    let mut tree = Tree::default();
    tree.add(folder.path(), 1500).unwrap();
    assert_eq!((tree.files, tree.bytes), (2, 2000));
}
