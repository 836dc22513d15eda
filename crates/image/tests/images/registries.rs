//! Pulling from Debian's docker-registry what skopeo has pushed.

use crate::support::{Fixture, Registry, layered, skopeo};
use cenote_image::{PullOptions, Reference, Silent};
use serde_json::{Value, json};

use crate::handmade::{Layer, Layout, files};

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

#[test]
fn an_index_of_two_platforms_is_pulled_by_tag_and_by_digest() {
    let fixture = Fixture::new();
    let path = fixture.path("layout");
    let mut layout = Layout::new(&path, &[Layer::gzip(files(&[("amd", b"64")]))]);
    let mut amd = layout.image();
    amd["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let mut other = Layout::new(&path, &[Layer::zstd(files(&[("arm", b"64")]))]);
    other.config["architecture"] = json!("arm64");
    let mut arm = other.image();
    arm["platform"] = json!({"os": "linux", "architecture": "arm64", "variant": "v8"});
    let mut index = layout.nested_index(&[arm.clone(), amd.clone()]);
    let index_digest = index["digest"].as_str().unwrap().parse().unwrap();
    index["annotations"] = json!({"org.opencontainers.image.ref.name": "both"});
    layout.index["manifests"] = json!([index]);
    let from = layout.finish();

    let registry = Registry::start();
    let name = format!("localhost:{}/team/both:v1", registry.port());
    let to = format!("docker://{name}");
    skopeo(&[
        "copy",
        "--all",
        "--dest-tls-verify=false",
        &format!("{from}:both"),
        &to,
    ]);
    let reference: Reference = name.parse().unwrap();
    let digest_of = |descriptor: &Value| descriptor["digest"].as_str().unwrap().to_owned();
    let pull = |reference: &Reference, platform: Option<&str>| {
        let options = PullOptions {
            platform: platform.map(|platform| platform.parse().unwrap()),
        };
        fixture
            .store
            .pull(reference, &options, &Silent)
            .map(|image| image.digest.to_string())
    };
    assert_eq!(pull(&reference, None).unwrap(), digest_of(&amd));
    let of_index = reference.with_digest(index_digest);
    assert_eq!(
        fixture
            .store
            .resolve(&of_index.to_string())
            .unwrap()
            .digest
            .to_string(),
        digest_of(&amd)
    );
    assert_eq!(
        pull(&of_index, Some("linux/arm64")).unwrap(),
        digest_of(&arm)
    );
    let of_manifest = reference.with_digest(digest_of(&arm).parse().unwrap());
    assert_eq!(
        pull(&of_manifest, Some("linux/arm64/v8")).unwrap(),
        digest_of(&arm)
    );
    let refused = pull(&of_manifest, None).unwrap_err().to_string();
    assert!(
        refused.starts_with("the image is for linux/arm64, not for linux/amd64"),
        "{refused}"
    );
}
