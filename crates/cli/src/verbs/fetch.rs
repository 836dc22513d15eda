//! The image that `run` and `create` name: found in the store.

use anyhow::Context;
use cenote_image::{Error, Image, Store};

/// The image that `text` names.
pub fn image(store: &Store, text: &str) -> anyhow::Result<Image> {
    match store.resolve(text) {
        Err(error @ Error::NotFound { .. }) => Err(error).with_context(|| missing(text)),
        found => Ok(found?),
    }
}

/// What to say when an image is not here.
fn missing(text: &str) -> String {
    match text {
        "busybox" => {
            "no image busybox here; `cenote image build-base busybox` makes one without a registry"
                .to_owned()
        }
        _ => format!("no image {text} here"),
    }
}
