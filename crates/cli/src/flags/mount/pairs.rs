//! `--mount type=bind|volume|tmpfs,source=...,target=...,...`: comma-separated pairs and words, podman's.

use std::str::FromStr;

use super::{BadMount, MountFlag, Options, SourceFlag, target, volume_name};

/// One `--mount`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairsFlag(pub MountFlag);

impl FromStr for PairsFlag {
    type Err = BadMount;

    fn from_str(text: &str) -> Result<Self, BadMount> {
        let mut kind = "volume";
        let (mut source, mut at) = (None, None);
        let mut options = Options::default();
        let mut rest = Vec::new();
        for pair in text.split(',') {
            match pair.split_once('=') {
                Some(("type", value)) => kind = value,
                Some(("source" | "src", value)) => source = Some(value),
                Some(("target" | "destination" | "dst", value)) => at = Some(value),
                _ => rest.push(pair),
            }
        }
        let kind = match kind {
            "bind" => "bind",
            "volume" => "volume",
            "tmpfs" => "tmpfs",
            _ => return Err(BadMount::Type(kind.to_owned())),
        };
        for pair in rest {
            take(&mut options, kind, pair)?;
        }
        let source = match (kind, source) {
            ("tmpfs", None) => SourceFlag::Tmpfs,
            ("tmpfs", Some(source)) => {
                return Err(BadMount::Option(format!("source={source}"), "a tmpfs"));
            }
            ("bind", Some(path)) if !path.is_empty() => SourceFlag::Path(path.to_owned()),
            ("bind", _) => return Err(BadMount::Missing("bind", "source")),
            (_, name) => SourceFlag::Volume(name.map(volume_name).transpose()?),
        };
        let at = at.ok_or(BadMount::Missing(kind, "target"))?;
        Ok(Self(MountFlag {
            source,
            target: target(at)?,
            options,
        }))
    }
}

/// Takes a word or pair that is neither the type nor a place.
fn take(options: &mut Options, kind: &str, pair: &str) -> Result<(), BadMount> {
    match (kind, pair.split_once('=')) {
        (_, Some(("ro" | "readonly", "true"))) => options.read_only = true,
        (_, Some(("ro" | "readonly", "false"))) => options.read_only = false,
        ("tmpfs", Some(("tmpfs-size", value))) => options.tmpfs(&format!("size={value}"))?,
        ("tmpfs", Some(("tmpfs-mode", value))) => options.tmpfs(&format!("mode={value}"))?,
        ("tmpfs", _) => options.tmpfs(pair)?,
        (_, Some(("bind-propagation", value))) => options.share(value)?,
        (_, Some(("relabel", value))) => Options::relabel(value)?,
        (_, Some(("volume-nocopy", "true"))) => options.copy = false,
        _ => options.share(pair)?,
    }
    Ok(())
}
