//! Pulling an image from a registry.

use std::io::Read;

use crate::digest::Digest;
use crate::error::Result;
use crate::platform::Platform;
use crate::progress::Progress;
use crate::reference::Reference;
use crate::registry::Registry;
use crate::source::assemble::{Documents, assemble};
use crate::store::{Image, LayerBlob, LayerBlobs, Store};

/// How to pull.
#[derive(Debug, Clone, Default)]
pub struct PullOptions {
    /// The image to take from an index; this machine's if there is none.
    pub platform: Option<Platform>,
}

impl Store {
    /// Fetches the image that `reference` names now, and gives it that name here.
    ///
    /// Layers that are here already are not fetched again. Several processes may pull the same image at once: each layer is
    /// fetched by one of them. Nothing of the image can be seen until all of it is there.
    pub fn pull(
        &self,
        reference: &Reference,
        options: &PullOptions,
        progress: &dyn Progress,
    ) -> Result<Image> {
        let registry = Registry::new(reference)?;
        let (root, root_bytes) = registry.root(reference)?;
        let source = Remote {
            registry,
            root: root.digest,
            root_bytes,
        };
        let names = vec![reference.clone()];
        let candidate = assemble(&source, &root, options.platform.as_ref(), names)?;
        self.install(&candidate, &candidate.layers(), &source, progress)
    }
}

struct Remote {
    registry: Registry,
    /// What the reference led to, and its bytes: a tag may mean something else when asked again.
    root: Digest,
    root_bytes: Vec<u8>,
}

impl Documents for Remote {
    fn manifest(&self, digest: &Digest) -> Result<Vec<u8>> {
        match *digest == self.root {
            true => Ok(self.root_bytes.clone()),
            false => Ok(self.registry.manifest(&digest.to_string())?.bytes),
        }
    }

    fn config(&self, digest: &Digest) -> Result<Vec<u8>> {
        Ok(self.registry.config(digest)?)
    }
}

impl LayerBlobs for Remote {
    fn open(&self, layer: &LayerBlob) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.registry.blob(layer.blob, layer.size)))
    }
}
