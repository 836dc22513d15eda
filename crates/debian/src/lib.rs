//! Takes signed packages out of Debian's archive through a private apt root, and unpacks them beside the host.
//!
//! The host's package sources, lists and installed packages are never changed.
