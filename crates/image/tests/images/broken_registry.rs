//! Registries that break off, lie, or want to know who we are.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use cenote_image::{Error, Image, LayerError, ManifestError, PullOptions, RegistryError, Silent};
use serde_json::json;

use crate::handmade::{Layer, Layout, files};
use crate::server::{Reply, Request, Server};
use crate::support::Fixture;

const LAYER: usize = 300_000;

/// A layout with one layer of some hundred kilobytes; the folder, and the name of the layer's blob.
fn layout(fixture: &Fixture) -> (PathBuf, String) {
    let noise: Vec<u8> = (0..LAYER as u32 / 4)
        .flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let path = fixture.path("layout");
    let layout = Layout::new(&path, &[Layer::gzip(files(&[("noise", &noise)]))]);
    let blob = layout.manifest["layers"][0]["digest"]
        .as_str()
        .unwrap()
        .to_owned();
    layout.finish();
    (path, blob)
}

fn pull(fixture: &Fixture, server: &Server) -> Result<Image, Error> {
    fixture
        .store
        .pull(&server.reference(), &PullOptions::default(), &Silent)
}

#[test]
fn a_broken_connection_is_continued_where_it_was() {
    for can_skip in [true, false] {
        let fixture = Fixture::new();
        let (folder, blob) = layout(&fixture);
        let whole = fs::read(folder.join("blobs/sha256").join(&blob["sha256:".len()..])).unwrap();
        let cut = whole.len() / 3;
        let wanted = format!("/v2/test/image/blobs/{blob}");
        let server = Server::start(&folder, move |request: &Request| {
            if request.path != wanted {
                return None;
            }
            let Some(range) = request.headers.get("range") else {
                return Some(Reply {
                    cut: Some(cut),
                    ..Reply::ok(whole.clone())
                });
            };
            let start: usize = range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse()
                .unwrap();
            assert_eq!(start, cut);
            Some(match can_skip {
                true => Reply {
                    status: 206,
                    ..Reply::ok(whole[start..].to_vec())
                },
                false => Reply::ok(whole.clone()),
            })
        });
        pull(&fixture, &server).unwrap();
        assert_eq!(server.count(&blob), 2, "{can_skip}");
    }
}

#[test]
fn a_layer_that_lies_is_refused() {
    let fixture = Fixture::new();
    let (folder, blob) = layout(&fixture);
    let digits = &blob["sha256:".len()..];
    let size = fs::metadata(folder.join("blobs/sha256").join(digits))
        .unwrap()
        .len();
    let server = Server::start(&folder, move |request: &Request| {
        let is_layer = request.path.ends_with(&blob);
        is_layer.then(|| Reply::ok(vec![7; size as usize]))
    });
    let error = pull(&fixture, &server).unwrap_err();
    assert!(
        matches!(
            &error,
            Error::Layer {
                source: LayerError::BlobDigest { .. },
                ..
            }
        ),
        "{error:?}"
    );
    fixture.assert_empty();
}

#[test]
fn documents_that_lie_are_refused() {
    let fixture = Fixture::new();
    let (folder, _) = layout(&fixture);
    let server = Server::start(&folder, |request: &Request| {
        request
            .path
            .contains("/manifests/sha256:")
            .then(|| Reply::ok(b"{}".to_vec()))
    });
    let digest = cenote_image::Digest::of(b"something else");
    let reference = server.reference().with_digest(digest);
    let error = fixture
        .store
        .pull(&reference, &PullOptions::default(), &Silent)
        .unwrap_err();
    assert!(
        matches!(error, Error::Manifest(ManifestError::Digest { .. })),
        "{error:?}"
    );
    let endless = Server::start(&folder, |request: &Request| {
        request
            .path
            .contains("/manifests/")
            .then(|| Reply::ok(vec![b' '; 5 << 20]))
    });
    let error = pull(&fixture, &endless).unwrap_err();
    assert!(
        matches!(error, Error::Registry(RegistryError::TooLong(_))),
        "{error:?}"
    );
    fixture.assert_empty();
}

#[test]
fn a_token_is_fetched_where_the_registry_says() {
    let fixture = Fixture::new();
    let (folder, _) = layout(&fixture);
    let tokens = Server::start(&folder, |request: &Request| {
        assert_eq!(
            request.path,
            "/token?scope=repository%3Atest%2Fimage%3Apull&service=here"
        );
        Some(Reply::ok(br#"{"token": "good"}"#.to_vec()))
    });
    let realm = format!("http://{}/token", tokens.address);
    let server = Server::start(&folder, move |request: &Request| {
        let authorized = request
            .headers
            .get("authorization")
            .is_some_and(|header| header == "Bearer good");
        let challenge =
            format!(r#"Bearer realm="{realm}",service="here",scope="repository:test/image:pull""#);
        (!authorized).then(|| Reply::status(401).header("WWW-Authenticate", challenge))
    });
    pull(&fixture, &server).unwrap();
    assert_eq!(
        tokens.requests.lock().unwrap().len(),
        1,
        "one token for all requests"
    );
}

#[test]
fn a_token_server_without_tls_is_not_asked() {
    let fixture = Fixture::new();
    let (folder, _) = layout(&fixture);
    let server = Server::start(&folder, |_: &Request| {
        Some(Reply::status(401).header(
            "WWW-Authenticate",
            r#"Bearer realm="http://192.0.2.1/token""#,
        ))
    });
    let error = pull(&fixture, &server).unwrap_err();
    assert!(
        matches!(error, Error::Registry(RegistryError::Challenge { .. })),
        "{error:?}"
    );
}

#[test]
fn a_redirect_without_tls_is_not_followed() {
    let fixture = Fixture::new();
    let (folder, blob) = layout(&fixture);
    let server = Server::start(&folder, move |request: &Request| {
        request
            .path
            .ends_with(&blob)
            .then(|| Reply::status(307).header("Location", "http://192.0.2.1/blob"))
    });
    let error = pull(&fixture, &server).unwrap_err();
    assert!(error.to_string().contains("not reached by TLS"), "{error}");
}

#[test]
fn a_busy_registry_is_asked_again() {
    let fixture = Fixture::new();
    let (folder, _) = layout(&fixture);
    let answers = AtomicUsize::new(0);
    let server = Server::start(&folder, move |_: &Request| {
        let first = answers.fetch_add(1, Ordering::Relaxed) == 0;
        first.then(|| Reply::status(503).header("Retry-After", "0"))
    });
    pull(&fixture, &server).unwrap();
}

#[test]
fn what_is_not_there_and_what_is_forbidden() {
    let fixture = Fixture::new();
    let (folder, _) = layout(&fixture);
    let server = Server::start(&folder, |_: &Request| None);
    let reference = format!("{}/test/other", server.address).parse().unwrap();
    let error = fixture
        .store
        .pull(&reference, &PullOptions::default(), &Silent)
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("{} has no test/other:latest", server.address)
    );
    let server = Server::start(&folder, |_: &Request| {
        Some(Reply::status(401).header("WWW-Authenticate", "Basic realm=\"x\""))
    });
    let error = pull(&fixture, &server).unwrap_err();
    assert!(
        matches!(error, Error::Registry(RegistryError::Unauthorized { .. })),
        "{error:?}"
    );
    let server = Server::start(&folder, |_: &Request| {
        Some(Reply {
            status: 500,
            ..Reply::ok(json!({"errors": "\u{1b}[31mred"}).to_string().into_bytes())
        })
    });
    let error = pull(&fixture, &server).unwrap_err();
    assert!(!error.to_string().contains('\u{1b}'), "{error}");
    fixture.assert_empty();
}
