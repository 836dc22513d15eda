//! Loading images from folders, files and standard input.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use super::place::{ArchiveError, Place};
use super::{Source, docker_archive, layout};
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::progress::Progress;
use crate::pull::PullOptions;
use crate::store::{Image, Store};

impl Store {
    /// Makes the images of `source` images of this store, and gives them the names that they have there.
    ///
    /// From an index, the image for `platform` is taken, which is this machine's if there is none.
    pub fn load(
        &self,
        source: &Source,
        platform: Option<&Platform>,
        progress: &dyn Progress,
    ) -> Result<Vec<Image>> {
        match source {
            Source::Registry(reference) => {
                let options = PullOptions {
                    platform: platform.cloned(),
                };
                self.pull(reference, &options, progress)
                    .map(|image| vec![image])
            }
            Source::OciLayout { folder, name } => layout::load(
                self,
                &Place::folder(folder),
                name.as_deref(),
                platform,
                progress,
            ),
            Source::OciArchive { file, name } => self.with_archive(open(file)?, file, |place| {
                layout::load(self, place, name.as_deref(), platform, progress)
            }),
            Source::DockerArchive { file, name } => self.with_archive(open(file)?, file, |place| {
                docker_archive::load(self, place, name.as_deref(), platform, progress)
            }),
            Source::Archive(file) => self.with_archive(open(file)?, file, |place| {
                self.load_either(place, platform, progress)
            }),
            Source::StandardInput => {
                let path = Path::new("standard input");
                let input = io::stdin()
                    .as_fd()
                    .try_clone_to_owned()
                    .map_err(Error::io("read", path))?;
                self.with_archive(File::from(input), path, |place| {
                    self.load_either(place, platform, progress)
                })
            }
        }
    }

    /// Newer `docker save` writes an archive that is both; the layout has more digests to check.
    fn load_either(
        &self,
        place: &Place,
        platform: Option<&Platform>,
        progress: &dyn Progress,
    ) -> Result<Vec<Image>> {
        if place.has(layout::LAYOUT) {
            return layout::load(self, place, None, platform, progress);
        }
        if place.has(docker_archive::INDEX) {
            return docker_archive::load(self, place, None, platform, progress);
        }
        Err(ArchiveError::Neither(place.path.clone()).into())
    }
}

fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(Error::io("open", path))
}
