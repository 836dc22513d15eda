//! Pulling from Debian's docker-registry what skopeo has pushed.

use crate::support::{Fixture, Registry, layered, skopeo};
use cenote_image::{PullOptions, Silent};

#[test]
fn a_pushed_image_is_pulled_by_tag_and_by_digest() {
    let fixture = Fixture::new();
    let layout = fixture.path("three");
    layered(&layout, "v1");
    let registry = Registry::start();
    let name = format!("{}/team/three:v1", registry.address);
    let from = format!("oci:{}:v1", layout.to_str().unwrap());
    skopeo(&[
        "copy",
        "--dest-tls-verify=false",
        &from,
        &format!("docker://{name}"),
    ]);
    let reference = name.parse().unwrap();
    let image = fixture
        .store
        .pull(&reference, &PullOptions::default(), &Silent)
        .unwrap();
    assert_eq!(image.layers.len(), 3);
    assert_eq!(fixture.store.resolve(&name).unwrap().id, image.id);
    let by_digest = reference.with_digest(image.digest);
    let again = Fixture::new();
    let pulled = again
        .store
        .pull(&by_digest, &PullOptions::default(), &Silent)
        .unwrap();
    assert_eq!(pulled.id, image.id);
    assert_eq!(pulled.references, [by_digest]);
}
