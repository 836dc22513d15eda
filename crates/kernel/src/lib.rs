//! Guest kernels on disk: install, list, choose, and the modules that each needs in its initramfs.
