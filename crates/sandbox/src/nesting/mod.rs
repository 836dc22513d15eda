//! What a sandbox that runs sandboxes of its own is lent: a data folder of Cenote, read-only, at [`cenote_protocol::OUTER`].
//!
//! ```text
//! bin/cenote                       this program
//! kernels/ tools/ disks/           what it needs: the sandbox's kernel, passt, an empty disk
//! images/                          the images that the sandbox names, as a store
//! lent/<key>.erofs                 the first two lines once more, to be lent on
//! ```
//!
//! Nothing is copied into the machine, nor between levels. The folder is one EROFS tree over several pmem devices: its
//! metadata and small files are made for each sandbox; the tools are one image, made once ([`tools`]); each layer and
//! each image's metadata is a piece by itself and appears as a file whose pages are those of the host's page cache. A
//! monitor inside maps such a file into its own guest, which so reads the same pages again.
//!
//! A page can belong to one file only under DAX. So the tools, which are a tree and a file here, are two devices, and
//! the container's own image comes as other devices than those of its root; a device costs the guest 1/64 of its
//! length in page structures and no page of its content.

mod tools;

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use cenote_erofs::{
    LayerSource, LayerWriter, MergeError, Metadata, WholeFile, WriteError, merge_with_files,
};
use cenote_image::{Image, Lent};
use cenote_kernel::Kernel;
use sha2::{Digest, Sha256};

use crate::host::Host;
use crate::paths::IMAGES;
use crate::sandbox::Sandbox;

pub(crate) use tools::Held;

/// The folder of images of tools in a data folder.
const LENT: &str = "lent";

/// Why nothing can be lent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program, a kernel or the images cannot be had.
    #[error(transparent)]
    Host(#[from] crate::host::Error),
    /// passt is the host's own, whose libraries a container does not have.
    #[error(
        "--nested lends passt to the container, and this host's own does not run there: run `cenote tools install passt`"
    )]
    HostsPasst,
    /// An initramfs cannot be made.
    #[error(transparent)]
    Kernel(#[from] cenote_kernel::Error),
    /// The empty disk cannot be made.
    #[error(transparent)]
    Disk(#[from] crate::disk::Error),
    /// An image cannot be lent.
    #[error(transparent)]
    Image(#[from] Box<cenote_image::Error>),
    /// The tree cannot be written.
    #[error("cannot write what the sandbox is lent: {0}")]
    Write(#[from] WriteError),
    /// The pieces do not fit together.
    #[error("cannot put together what the sandbox is lent: {0}")]
    Merge(#[from] MergeError),
    /// A file cannot be used.
    #[error("cannot use {path}: {source}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
}

fn at(path: &Path) -> impl Fn(io::Error) -> Error {
    move |source| Error::Io {
        path: path.to_owned(),
        source,
    }
}

/// What is lent to one sandbox.
#[derive(Debug)]
pub(crate) struct Loan {
    /// The tree's metadata, then its devices.
    pub pmem: Vec<PathBuf>,
    /// Keeps the image of the tools from being removed.
    pub tools: Held,
}

/// Makes what `sandbox`, which runs `kernel`, is lent of `images`. The caller holds leases on them.
pub(crate) fn lend(
    sandbox: &Sandbox,
    host: &Host,
    kernel: &Kernel,
    images: &[Image],
) -> Result<Loan, Error> {
    let tools = tools::layer(sandbox.paths(), host, kernel)?;
    let store = sandbox.paths().images().map_err(Box::new)?;
    let lent = store.lend(images).map_err(Box::new)?;
    let (small, meta) = (
        sandbox.file("lent-documents.erofs"),
        sandbox.file("lent.erofs"),
    );
    write_documents(&small, &lent)?;
    let layers = [source(&small), source(&tools.path)];
    let name = tools.path.file_name().unwrap_or_default();
    let mut files = vec![whole(&Path::new(LENT).join(name), &tools.path)];
    for (name, path) in &lent.files {
        files.push(whole(&Path::new(IMAGES).join(name), path));
    }
    merge_with_files(&layers, &files, create(&meta)?)?;
    let mut pmem = vec![meta, small, tools.path.clone()];
    pmem.extend(files.into_iter().map(|file| file.source.path));
    Ok(Loan { pmem, tools })
}

/// The layer of the store's small files.
fn write_documents(path: &Path, lent: &Lent) -> Result<(), Error> {
    let mut layer = LayerWriter::new(create(path)?)?;
    for (name, content) in &lent.documents {
        let name = Path::new(IMAGES).join(name);
        let size = content.len() as u64;
        layer.file(
            name.as_os_str().as_bytes(),
            readable(),
            size,
            &mut content.as_slice(),
        )?;
    }
    layer.finish()?;
    Ok(())
}

fn create(path: &Path) -> Result<File, Error> {
    File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(path)
        .map_err(at(path))
}

fn readable() -> Metadata {
    Metadata {
        mode: 0o644,
        ..Metadata::default()
    }
}

fn whole(name: &Path, path: &Path) -> WholeFile {
    WholeFile {
        name: name.as_os_str().as_bytes().to_vec(),
        source: source(path),
    }
}

/// A piece, whose device is named by the digest of its path.
fn source(path: &Path) -> LayerSource {
    let digest = hex(&Sha256::digest(path.as_os_str().as_bytes()));
    LayerSource {
        path: path.to_owned(),
        tag: digest
            .into_bytes()
            .try_into()
            .expect("a SHA-256 has 64 digits"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
