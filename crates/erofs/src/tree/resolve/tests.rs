use crate::metadata::Metadata;
use crate::tree::{Directory, Inode, InodeId, Kind, Presence, Tree};

struct Sample {
    tree: Tree,
    usr: InodeId,
    lib: InodeId,
}

fn add(tree: &mut Tree, parent: InodeId, name: &[u8], kind: Kind) -> InodeId {
    let id = tree
        .add(Inode {
            meta: Metadata::default(),
            kind,
        })
        .unwrap();
    tree.directory_mut(parent)
        .unwrap()
        .children
        .insert(name.into(), id);
    id
}

fn link(target: &[u8]) -> Kind {
    Kind::Symlink(target.into())
}

/// `/usr/lib/f`, and links to `/usr/lib` of many kinds in `/`.
fn sample() -> Sample {
    let mut tree = Tree::new(Presence::Explicit);
    let directory = |parent| Kind::Directory(Directory::new(parent, Presence::Explicit));
    let usr = add(&mut tree, Tree::ROOT, b"usr", directory(Tree::ROOT));
    let lib = add(&mut tree, usr, b"lib", directory(usr));
    add(&mut tree, lib, b"f", Kind::Fifo);
    add(&mut tree, lib, b"own", link(b"../lib"));
    add(&mut tree, Tree::ROOT, b"lib", link(b"usr/lib"));
    add(&mut tree, Tree::ROOT, b"slashes", link(b"/usr//./lib/"));
    add(&mut tree, Tree::ROOT, b"above", link(b"../../../usr/lib"));
    add(&mut tree, Tree::ROOT, b"second", link(b"lib/own"));
    add(&mut tree, Tree::ROOT, b"loop", link(b"loop"));
    Sample { tree, usr, lib }
}

#[test]
fn links_of_every_kind_lead_to_the_directory() {
    let Sample { tree, usr, lib } = sample();
    for target in [
        &b"lib"[..],
        b"slashes",
        b"above",
        b"second",
        b"/usr/lib",
        b"usr/lib/own/.",
    ] {
        assert_eq!(
            tree.follow_to_directory(Tree::ROOT, target),
            Some(lib),
            "{}",
            target.escape_ascii()
        );
    }
    assert_eq!(tree.follow_to_directory(usr, b"lib"), Some(lib));
    assert_eq!(tree.follow_to_directory(lib, b".."), Some(usr));
}

#[test]
fn loops_files_and_missing_names_lead_nowhere() {
    let Sample { tree, .. } = sample();
    for target in [
        &b"loop"[..],
        b"lib/f",
        b"lib/f/..",
        b"nothing",
        b"nothing/..",
    ] {
        assert_eq!(
            tree.follow_to_directory(Tree::ROOT, target),
            None,
            "{}",
            target.escape_ascii()
        );
    }
}

#[test]
fn the_last_name_of_a_path_is_not_followed() {
    let Sample { tree, .. } = sample();
    let file = tree.find(b"usr/lib/f");
    assert!(file.is_some());
    assert_eq!(tree.find_through_links(b"second/f"), file);
    assert_eq!(tree.find(b"second/f"), None);
    assert_eq!(tree.find_through_links(b"loop"), tree.find(b"loop"));
}
