//! OCI images: references, registries, archives and the store in which each layer is an EROFS image.
//!
//! Knows nothing of VMs.
