//! Everything that a built kernel depends on, and the name that follows from it.

use sha2::{Digest, Sha256};

use super::recipe;
use crate::initramfs::hex;

/// A file of `kernel/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File {
    /// Its path in `kernel/`.
    pub name: &'static str,
    /// What it says.
    pub text: &'static str,
}

include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// A machine that kernels are configured for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Architecture {
    /// PCs.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
}

impl Architecture {
    /// This machine's; `None` if there is no configuration for it.
    #[must_use]
    pub fn host() -> Option<Self> {
        match std::env::consts::ARCH {
            "x86_64" => Some(Self::X86_64),
            "aarch64" => Some(Self::Aarch64),
            _ => None,
        }
    }

    /// Linux's name of it, as its Makefile takes it in `ARCH`.
    #[must_use]
    pub fn linux(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "arm64",
        }
    }

    /// The fragments of its configuration; where two ask for the same symbol, the later one holds.
    #[must_use]
    pub fn fragments(self) -> Vec<File> {
        let own = match self {
            Self::X86_64 => X86_64,
            Self::Aarch64 => AARCH64,
        };
        [COMMON, own].concat()
    }
}

/// What goes into a kernel.
#[derive(Debug, Clone)]
pub(super) struct Inputs {
    pub(super) architecture: Architecture,
    /// The source package, `name=version`.
    pub(super) source: String,
    /// What the compiler and the linker call themselves.
    pub(super) compiler: String,
    pub(super) fragments: Vec<File>,
    pub(super) patches: Vec<File>,
}

impl Inputs {
    pub(super) fn new(architecture: Architecture, source: String, compiler: String) -> Self {
        Self {
            architecture,
            source,
            compiler,
            fragments: architecture.fragments(),
            patches: PATCHES.to_vec(),
        }
    }

    /// SHA-256 of all of it, in hexadecimal.
    pub(super) fn digest(&self) -> String {
        let mut hash = Sha256::new();
        // Each text with its length, so that none can pass for the end of another.
        let mut add = |text: &str| {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text);
        };
        add(self.architecture.linux());
        add(&self.source);
        add(&self.compiler);
        for files in [&self.fragments, &self.patches] {
            add(&files.len().to_string());
            for file in files {
                add(file.name);
                add(file.text);
            }
        }
        for word in recipe::words() {
            add(word);
        }
        hex(&hash.finalize())
    }

    /// SHA-256 of what the source tree depends on: trees of other configurations can share it.
    pub(super) fn tree_digest(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(&self.source);
        for patch in &self.patches {
            hash.update([0]);
            hash.update(patch.text);
        }
        hex(&hash.finalize())
    }

    /// What distinguishes this kernel from others of its release: the end of its name.
    pub(super) fn local_version(&self) -> String {
        format!("-cenote-{}", &self.digest()[..SHOWN_DIGITS])
    }

    /// The kernel's name, which `uname -r` prints in the guest: the upstream release and the local version.
    pub(super) fn name(&self) -> String {
        let version = self.source.rsplit('=').next().unwrap_or_default();
        let upstream = version.split(['-', '~', '+']).next().unwrap_or_default();
        format!("{upstream}{}", self.local_version())
    }
}

/// As many digits of the digest as the name shows: 48 bits, enough to tell a person's kernels apart. `kernel.json` has all.
const SHOWN_DIGITS: usize = 12;

#[cfg(test)]
#[path = "inputs_test.rs"]
mod tests;
