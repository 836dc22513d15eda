//! Loading what other tools have written.

use std::path::Path;

use crate::support::{Fixture, layered, skopeo};
use crate::tree;
use cenote_image::{Error, Image, Silent, Source, Store};

fn load(store: &Store, source: &str) -> Result<Vec<Image>, Error> {
    store.load(&source.parse().unwrap(), None, &Silent)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_layout_and_both_kinds_of_archives_give_the_same_image() {
    let fixture = Fixture::new();
    let layout = fixture.path("three");
    layered(&layout, "v1");
    let layout = text(&layout);
    let [image] = &load(&fixture.store, &format!("oci:{layout}")).unwrap()[..] else {
        panic!("one image in, one image out");
    };
    assert_eq!(image.references[0].to_string(), "localhost/three:v1");
    assert_eq!(image.layers.len(), 3);
    assert!(fixture.store.resolve("three:v1").is_ok());
    let from = format!("oci:{layout}:v1");
    for (transport, name) in [
        ("oci-archive", "quay.io/a/oci:1"),
        ("docker-archive", "quay.io/a/docker:1"),
    ] {
        let file = fixture.path(transport);
        skopeo(&[
            "copy",
            &from,
            &format!("{transport}:{}:{name}", text(&file)),
        ]);
        for source in [
            Source::Archive(file.clone()),
            format!("{transport}:{}", text(&file)).parse().unwrap(),
        ] {
            let fresh = Fixture::new();
            let loaded = fresh.store.load(&source, None, &Silent).unwrap();
            assert_eq!(loaded[0].id, image.id, "{transport}");
            assert_eq!(loaded[0].references[0].to_string(), name);
            assert_eq!(loaded[0].layers.len(), 3);
        }
    }
}

#[test]
fn a_name_that_a_layout_does_not_have_is_an_error_that_lists_those_it_has() {
    let fixture = Fixture::new();
    let layout = fixture.path("three");
    layered(&layout, "v1");
    let error = load(&fixture.store, &format!("oci:{}:v2", text(&layout))).unwrap_err();
    assert!(
        error.to_string().ends_with("has no image `v2`; it has v1"),
        "{error}"
    );
    fixture.assert_empty();
}

#[test]
fn the_merged_tree_is_what_umoci_unpacks() {
    let fixture = Fixture::new();
    let layout = fixture.path("three");
    let umoci = layered(&layout, "v1");
    let bundle = fixture.path("unpacked");
    umoci.unpack("v1", &bundle);
    let [image] = &load(&fixture.store, &format!("oci:{}", text(&layout))).unwrap()[..] else {
        panic!("one image in, one image out");
    };
    let theirs = tree::read(&bundle.join("rootfs"));
    assert!(theirs.len() > 15, "the test has a tree to compare");
    tree::assert_equal(&tree::extract(image, &fixture.path("extracted")), &theirs);
}
