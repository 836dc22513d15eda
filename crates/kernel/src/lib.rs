//! Guest kernels on disk: install, list, choose, and the initramfs that starts one.
//!
//! A kernel is a folder `<version>` of the [`Store`] with `vmlinux`, `modules/` in load order, `kernel.json` and the
//! initramfs files made from it. It is Debian's cloud kernel, taken out of its packages: nothing is compiled, and once
//! installed it works offline. See docs/kernel.md.
//!
//! It knows nothing of virtual machines or images.

pub mod bzimage;
pub mod command_line;
mod cpio;
mod initramfs;
pub mod install;
pub mod module;
pub mod store;
pub mod vmlinux;

pub use initramfs::initramfs;
pub use install::install;
pub use module::Group;
pub use store::{Error, Kernel, Module, Store};
