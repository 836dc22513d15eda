//! `-v [SOURCE:]TARGET[:OPTIONS]`: what begins with `/` or `.` is a path of the host, every other source a volume's name;
//! without a source the container gets a volume of its own.

use std::str::FromStr;

use super::{BadMount, MountFlag, Options, SourceFlag, target, volume_name};

/// One `-v`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeFlag(pub MountFlag);

impl FromStr for VolumeFlag {
    type Err = BadMount;

    fn from_str(text: &str) -> Result<Self, BadMount> {
        let parts: Vec<_> = text.split(':').collect();
        let (source, at, words) = match parts[..] {
            [at] => (None, at, ""),
            [source, at] => (Some(source), at, ""),
            [source, at, words] => (Some(source), at, words),
            _ => return Err(BadMount::Format(text.to_owned())),
        };
        if at.is_empty() || source.is_some_and(str::is_empty) {
            return Err(BadMount::Format(text.to_owned()));
        }
        let source = match source {
            Some(path) if path.starts_with(['/', '.']) => SourceFlag::Path(path.to_owned()),
            Some(name) => SourceFlag::Volume(Some(volume_name(name)?)),
            None => SourceFlag::Volume(None),
        };
        let mut options = Options::default();
        for word in words.split(',') {
            options.share(word)?;
        }
        Ok(Self(MountFlag {
            source,
            target: target(at)?,
            options,
        }))
    }
}
