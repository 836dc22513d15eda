//! The first root of a guest: the agent as `/init` and the modules that it loads.
//!
//! Layout (the contract with the agent):
//!
//! ```text
//! /init                     the agent
//! /dev/null                 what the agent's runtime opens when there is no console yet
//! /lib/modules/NN-name.ko   modules, uncompressed
//! /modules                  their paths, one a line, in load order; `--` ends those needed to reach the host
//! ```
//!
//! The archive is not compressed: unpacking costs an emulated CPU more than reading.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use crate::cpio::Cpio;
use crate::module::Group;
use crate::store::{Error, Kernel, Module, module_file};

/// Changes whenever the layout does, so that no cached file of an older one is used.
const LAYOUT: &[u8] = b"cenote initramfs 3";

/// The agent.
#[derive(Debug, Clone, Copy)]
pub struct Init<'a> {
    /// The program.
    pub program: &'a [u8],
    /// A digest of it, known beforehand: nobody has to read a program that is in an initramfs already.
    pub digest: &'a str,
}

/// The initramfs of `kernel` with the agent `init` and the modules of `groups`: made once, then found again.
///
/// # Errors
/// When a module cannot be read or the file cannot be written.
pub fn initramfs(kernel: &Kernel, init: Init<'_>, groups: &[Group]) -> Result<PathBuf, Error> {
    let modules: Vec<&Module> = kernel
        .modules
        .iter()
        .filter(|module| groups.contains(&module.group))
        .collect();
    let name = format!("initramfs-{}.cpio", key(init.digest, &modules));
    for folder in [&kernel.folder, &kernel.cache] {
        let path = folder.join(&name);
        if path.exists() {
            return Ok(path);
        }
    }
    let path = kernel.cache.join(name);
    fs::create_dir_all(&kernel.cache).map_err(Error::io(&kernel.cache))?;
    let archive = build(init.program, &modules)?;
    let mut file = tempfile::Builder::new()
        .prefix(".initramfs-")
        .tempfile_in(&kernel.cache)
        .map_err(Error::io(&kernel.cache))?;
    file.write_all(&archive)
        .and_then(|()| file.as_file().sync_data())
        .map_err(Error::io(&path))?;
    file.persist(&path).map_err(|error| Error::Io {
        path: path.clone(),
        source: error.error,
    })?;
    Ok(path)
}

fn key(init: &str, modules: &[&Module]) -> String {
    let mut hash = Sha256::new();
    hash.update(LAYOUT);
    for module in modules {
        hash.update(module.name.as_bytes());
        hash.update([0, module.group as u8]);
        hash.update(module.sha256.as_bytes());
    }
    hash.update(init.as_bytes());
    hex(&hash.finalize())
}

fn build(init: &[u8], modules: &[&Module]) -> Result<Vec<u8>, Error> {
    let mut archive = Cpio::default();
    archive.program("init", init);
    archive.directory("dev");
    archive.device("dev/null", (1, 3));
    archive.directory("lib");
    archive.directory("lib/modules");
    let mut list = String::new();
    let mut reached_host = false;
    for (place, module) in modules.iter().enumerate() {
        if !module.group.reaches_host() && !reached_host {
            list += "--\n";
            reached_host = true;
        }
        let content = fs::read(&module.path).map_err(Error::io(&module.path))?;
        let name = format!("lib/modules/{}", module_file(place, &module.name));
        archive.file(&name, &content);
        list += &format!("/{name}\n");
    }
    archive.file("modules", list.as_bytes());
    Ok(archive.finish())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
#[path = "initramfs_test.rs"]
mod tests;
