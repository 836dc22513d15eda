//! User-mode networking for one sandbox: passt, published ports, the resolver and egress rules.
//!
//! Knows nothing of images.
