//! EROFS images for DAX: write one image per layer from a tar-like stream, merge many layers into one tree.
//!
//! Knows nothing of OCI, of VMs, or of where the entries come from.
