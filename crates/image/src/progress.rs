//! What a user can be shown while layers arrive.

use crate::digest::Digest;

/// Told how the layers of an image get on; called from several threads at once.
pub trait Progress: Sync {
    /// A layer's blob of `size` bytes begins to arrive.
    fn layer_started(&self, layer: &Digest, size: u64) {
        let _ = (layer, size);
    }

    /// `bytes` more of a blob have arrived.
    fn layer_advanced(&self, layer: &Digest, bytes: u64) {
        let _ = (layer, bytes);
    }

    /// A layer is in the store. It was there already if it never started.
    fn layer_finished(&self, layer: &Digest) {
        let _ = layer;
    }
}

/// Shows nothing.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Progress for Silent {}
