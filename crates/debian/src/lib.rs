//! Takes signed packages out of Debian's archive through a private apt root, and unpacks them beside the host.
//!
//! The host's package sources, lists, pins and installed packages are neither used nor changed: of the host only the
//! `apt-get` program, its proxy settings and (unless one is given) the address of a mirror are taken.
//!
//! * [`Source`]: where packages come from, Debian's archive or `.deb` files;
//! * [`AptRoot`]: a private apt that updates, searches and downloads;
//! * [`Deb`]: one `.deb` file, read and unpacked as hostile input;
//! * [`Tools`]: programs that run from such packages with their own loader and libraries (QEMU, passt).
//!
//! It knows nothing of kernels or of how the programs are used.

mod ar;
pub mod archive;
pub mod deb;
mod elf;
pub mod lock;
pub mod source;
pub mod tool;
mod tree;
pub mod version;

pub use archive::AptRoot;
pub use deb::Deb;
pub use lock::Lock;
pub use source::Source;
pub use tool::{Kind, Tool, Tools};

/// Debian's release from which programs are taken: its own loader and libraries come with them, so it need not be
/// the host's.
pub const RELEASE: &str = "trixie";
