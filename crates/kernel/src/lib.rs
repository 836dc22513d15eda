//! Guest kernels on disk: install, build, list, choose, and the initramfs that starts one.
//!
//! A kernel is a folder `<version>` of the [`Store`] with `vmlinux`, `modules/` in load order, `kernel.json` and the
//! initramfs files made from it. There are two kinds: Debian's cloud kernel, taken out of its packages ([`install`]), and
//! the built kernel, made from Debian's source with a configuration of its own and everything built in ([`Build`]). Once
//! there, both work offline. See docs/kernel.md.
//!
//! It knows nothing of virtual machines or images.

pub mod build;
pub mod bzimage;
pub mod command_line;
mod cpio;
mod initramfs;
pub mod install;
pub mod module;
pub mod store;
pub mod vmlinux;

pub use build::Build;
pub use initramfs::{Init, initramfs};
pub use install::install;
pub use module::Group;
pub use store::{Built, Error, Kernel, Module, Store};
