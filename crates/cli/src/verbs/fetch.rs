//! The image that `run` and `create` name: found in the store, or fetched as `--pull` says.

use anyhow::Context;
use cenote_image::{Error, Image, Source, Store};

use super::container::Pull;
use crate::output::progress;

/// The image that `text` names. A folder or an archive is loaded every time; what has not changed is not converted
/// again.
pub fn image(store: &Store, text: &str, policy: Pull, quiet: bool) -> anyhow::Result<Image> {
    let is_place = ["oci:", "oci-archive:", "docker-archive:"]
        .iter()
        .any(|place| text.starts_with(place));
    if !is_place && policy != Pull::Always {
        match store.resolve(text) {
            Err(Error::NotFound { .. }) if policy == Pull::Missing => {}
            Err(error @ Error::NotFound { .. }) => return Err(error).context(remedy(text)),
            found => return Ok(found?),
        }
    }
    let source: Source = text.parse()?;
    let loaded = store.load(&source, None, &*progress::of_layers(quiet));
    let mut images = if is_place {
        loaded?
    } else {
        loaded.context(remedy(text))?
    };
    match images.len() {
        1 => Ok(images.remove(0)),
        count => {
            anyhow::bail!("{text} holds {count} images: name one of them behind another colon")
        }
    }
}

/// What to say first when an image is neither here nor to be had.
fn remedy(text: &str) -> String {
    match text.strip_prefix("localhost/").unwrap_or(text) {
        "busybox" | "busybox:latest" => {
            "there is no image busybox yet, and `cenote image build-base busybox` makes one without a registry".to_owned()
        }
        _ => format!("cannot get image {text}"),
    }
}
