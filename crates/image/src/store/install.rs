//! Making an image of the store out of documents and layer blobs, wherever those come from.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use cenote_erofs::LayerSource;

use super::catalog::Tag;
use super::{Image, Store, Workspace, disk};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layer::{self, Expected};
use crate::manifest::{Config, Manifest};
use crate::progress::Progress;
use crate::reference::Reference;

/// An image whose documents are known and checked, and whose layers are not here yet.
pub(crate) struct Candidate {
    /// The manifest, as bytes and parsed.
    pub(crate) manifest_bytes: Vec<u8>,
    pub(crate) manifest: Manifest,
    /// The configuration, as bytes and parsed.
    pub(crate) config_bytes: Vec<u8>,
    pub(crate) config: Config,
    /// The index that the manifest was chosen from.
    pub(crate) index: Option<Digest>,
    /// What the image shall be called.
    pub(crate) references: Vec<Reference>,
}

/// One layer to fetch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LayerBlob {
    /// Its place in the manifest, 0 at the bottom.
    pub(crate) position: usize,
    /// The blob's digest and length. Where the source has no digests, that of the archive inside and the length on the medium.
    pub(crate) blob: Digest,
    pub(crate) size: u64,
    pub(crate) diff_id: Digest,
    /// Whether `blob` is the digest of what [`LayerBlobs::open`] yields.
    pub(crate) has_digest: bool,
}

/// Where layers come from.
pub(crate) trait LayerBlobs: Sync {
    /// Opens a layer's blob, as compressed as it is there.
    fn open(&self, layer: &LayerBlob) -> Result<Box<dyn Read + Send + '_>>;
}

/// An image takes at least this many times the bytes of its compressed layers; measured on images of Debian it is 2.5 to 3.
const UNPACKED_RATIO: u64 = 2;

impl Store {
    /// Fetches and converts the layers that are missing, merges, and makes the image visible.
    pub(crate) fn install(
        &self,
        candidate: &Candidate,
        layers: &[LayerBlob],
        source: &dyn LayerBlobs,
        progress: &dyn Progress,
    ) -> Result<Image> {
        self.held(candidate, || {
            self.install_held(candidate, layers, source, progress)
        })
    }

    /// Does `work` under a lease for all files of the image: none can vanish, nor can a lock file that others wait for.
    fn held(&self, candidate: &Candidate, work: impl FnOnce() -> Result<Image>) -> Result<Image> {
        let files = self.files_of(&candidate.manifest.config.digest, &candidate.config);
        let lease = self.hold(None, files.into_iter())?;
        let installed = work();
        drop(lease);
        // What a broken connection has finished is of use to the next attempt; the rest of a refused image is not.
        if matches!(&installed, Err(error) if !error.is_interruption()) {
            self.sweep_if_idle()?;
        }
        installed
    }

    fn install_held(
        &self,
        candidate: &Candidate,
        layers: &[LayerBlob],
        source: &dyn LayerBlobs,
        progress: &dyn Progress,
    ) -> Result<Image> {
        let missing = self.missing(layers, progress);
        self.check_space(&missing)?;
        let workspace = self.workspace()?;
        self.convert_all(&missing, source, &workspace, progress)?;
        self.merge(candidate, &workspace)?;
        self.commit(candidate)
    }

    /// As [`Store::install`], for an image of one layer that has been converted into a file of `workspace`.
    pub(crate) fn install_converted(
        &self,
        candidate: &Candidate,
        workspace: &Workspace,
        (beside, file): (&Path, &File),
    ) -> Result<Image> {
        self.held(candidate, || {
            let path = self.find(self.layer_path(&candidate.config.diff_ids[0]));
            if !path.exists() {
                disk::publish_file(file, beside, &path)?;
            }
            self.merge(candidate, workspace)?;
            self.commit(candidate)
        })
    }

    /// The layers that are not in the store, each once.
    fn missing(&self, layers: &[LayerBlob], progress: &dyn Progress) -> Vec<LayerBlob> {
        let distinct: BTreeMap<Digest, LayerBlob> = layers
            .iter()
            .rev()
            .map(|layer| (layer.diff_id, *layer))
            .collect();
        let (present, mut missing): (Vec<_>, Vec<_>) = distinct
            .into_values()
            .partition(|layer| self.find(self.layer_path(&layer.diff_id)).exists());
        for layer in present {
            progress.layer_finished(&layer.blob);
        }
        // The longest first: the others fit in beside it.
        missing.sort_by_key(|layer| (std::cmp::Reverse(layer.size), layer.position));
        missing
    }

    fn check_space(&self, missing: &[LayerBlob]) -> Result<()> {
        let blobs = missing
            .iter()
            .fold(0_u64, |sum, layer| sum.saturating_add(layer.size));
        self.check_free(blobs.saturating_mul(UNPACKED_RATIO))
    }

    /// Refuses to begin what cannot end well.
    pub(crate) fn check_free(&self, needed: u64) -> Result<()> {
        let free = disk::free_bytes(&self.folder)?;
        match needed <= free {
            true => Ok(()),
            false => Err(Error::NoSpace {
                path: self.folder.clone(),
                needed,
                free,
            }),
        }
    }

    /// Converts as many layers at a time as there are cores. The first failure stops the others.
    fn convert_all(
        &self,
        missing: &[LayerBlob],
        source: &dyn LayerBlobs,
        workspace: &Workspace,
        progress: &dyn Progress,
    ) -> Result<()> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let queue = Mutex::new(missing.iter());
        let failure = Mutex::new(None);
        let stop = AtomicBool::new(false);
        let work = || {
            while !stop.load(Ordering::Acquire) {
                let Some(layer) = queue.lock().expect("no holder panics").next() else {
                    return;
                };
                let observed = Observed {
                    progress,
                    layer,
                    stop: &stop,
                };
                if let Err(error) = self.convert_one(layer, source, workspace, observed) {
                    // Later failures are echoes of `stop`.
                    failure
                        .lock()
                        .expect("no holder panics")
                        .get_or_insert(error);
                    stop.store(true, Ordering::Release);
                }
            }
        };
        thread::scope(|scope| {
            for _ in 0..cores.min(missing.len()) {
                scope.spawn(work);
            }
        });
        match failure.into_inner().expect("no holder panics") {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Converts one layer, unless another process has done it by the time it is our turn.
    fn convert_one(
        &self,
        layer: &LayerBlob,
        source: &dyn LayerBlobs,
        workspace: &Workspace,
        observed: Observed<'_>,
    ) -> Result<()> {
        let lock_path = self.layer_lock_path(&layer.diff_id);
        let lock = disk::open_lock(&lock_path)?;
        lock.lock().map_err(Error::io("lock", &lock_path))?;
        let path = self.find(self.layer_path(&layer.diff_id));
        if !path.exists() {
            observed.progress.layer_started(&layer.blob, layer.size);
            let (beside, file) = workspace.file(&layer.diff_id.hex())?;
            let out = file.try_clone().map_err(Error::io("open", &beside))?;
            let expected = Expected {
                blob: layer.has_digest.then_some((layer.blob, layer.size)),
                diff_id: layer.diff_id,
            };
            let blob = ObservedBlob {
                inner: source.open(layer)?,
                observed,
            };
            let converted =
                layer::convert(blob, Some(expected), out, &self.limits).map_err(|source| {
                    Error::Layer {
                        layer: layer.blob,
                        source,
                    }
                })?;
            tracing::debug!(layer = %layer.blob, inodes = converted.summary.inodes, bytes = converted.archive_bytes, "layer converted");
            disk::publish_file(&file, &beside, &path)?;
        }
        observed.progress.layer_finished(&layer.blob);
        Ok(())
    }

    /// Merges the layers unless an image of the same layers has been merged already.
    fn merge(&self, candidate: &Candidate, workspace: &Workspace) -> Result<()> {
        let path = self.find(self.meta_path(&candidate.config.chain_id()));
        if path.exists() {
            return Ok(());
        }
        let sources: Vec<LayerSource> = candidate
            .config
            .diff_ids
            .iter()
            .map(|diff_id| LayerSource {
                path: self.find(self.layer_path(diff_id)),
                tag: diff_id.hex().into_bytes().try_into().expect("64 digits"),
            })
            .collect();
        let (beside, file) = workspace.file("meta")?;
        let out = file.try_clone().map_err(Error::io("open", &beside))?;
        cenote_erofs::merge(&sources, out).map_err(|source| Error::Merge {
            id: candidate.manifest.config.digest,
            source,
        })?;
        disk::publish_file(&file, &beside, &path)
    }

    /// Makes the image visible: the manifest last, then its names. Removals wait until that is done.
    fn commit(&self, candidate: &Candidate) -> Result<Image> {
        let id = candidate.manifest.config.digest;
        let digest = Digest::of(&candidate.manifest_bytes);
        let _shared = self.lock_shared()?;
        self.publish(&self.config_path(&id), &candidate.config_bytes)?;
        self.publish(&self.manifest_path(&digest), &candidate.manifest_bytes)?;
        for reference in &candidate.references {
            self.write_tag(&Tag {
                reference: reference.clone(),
                manifest: digest,
                index: candidate.index,
            })?;
        }
        self.image(&digest, &self.tags()?)
    }

    /// All files that belong to an image beside its manifest.
    pub(super) fn files_of(&self, id: &Digest, config: &Config) -> Vec<PathBuf> {
        let layers = config.diff_ids.iter();
        layers
            .flat_map(|diff_id| [self.layer_path(diff_id), self.layer_lock_path(diff_id)])
            .chain([self.config_path(id), self.meta_path(&config.chain_id())])
            .collect()
    }
}

/// Who watches a layer arrive, and what can stop it.
#[derive(Clone, Copy)]
struct Observed<'a> {
    progress: &'a dyn Progress,
    layer: &'a LayerBlob,
    stop: &'a AtomicBool,
}

struct ObservedBlob<'a, R> {
    inner: R,
    observed: Observed<'a>,
}

impl<R: Read> Read for ObservedBlob<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.observed.stop.load(Ordering::Acquire) {
            return Err(io::Error::other("another layer failed"));
        }
        let count = self.inner.read(buffer)?;
        self.observed
            .progress
            .layer_advanced(&self.observed.layer.blob, count as u64);
        Ok(count)
    }
}
