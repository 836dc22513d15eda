//! An image out of one archive of a root file system, and out of one static busybox.

use std::io::Read;

use oci_spec::image::{Config, History, ImageConfiguration, Os, RootFs};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::layer;
use crate::manifest::{self, Manifest};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{Candidate, Image, Store};

/// What an imported image says of how to run it.
#[derive(Debug, Clone, Default)]
pub struct ImportOptions {
    /// Arguments, or the whole command if there is no entry point.
    pub cmd: Option<Vec<String>>,
    /// The program that is always run.
    pub entrypoint: Option<Vec<String>>,
    /// `NAME=value` each. Without any, PATH is set to the usual folders.
    pub env: Vec<String>,
    /// The user to run as, as `USER` of a Dockerfile.
    pub user: Option<String>,
    /// The folder to start in.
    pub working_dir: Option<String>,
    /// When it was made, in RFC 3339; images of the same content and time have the same id.
    pub created: Option<String>,
    /// What the history says of the layer.
    pub comment: Option<String>,
}

/// What a program finds without an environment of its own.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl Store {
    /// Makes an image of one layer out of the archive of a root file system, compressed by gzip or zstd or not at all.
    ///
    /// `name` moves to it if another image has it.
    pub fn import(
        &self,
        archive: impl Read + Send,
        name: &Reference,
        options: &ImportOptions,
    ) -> Result<Image> {
        let workspace = self.workspace()?;
        let (beside, file) = workspace.file("import")?;
        let out = file.try_clone().map_err(Error::io("open", &beside))?;
        let converted = layer::convert(archive, None, out, self.limits()).map_err(Error::Import)?;
        let candidate = candidate(converted.diff_id, converted.archive_bytes, name, options);
        self.install_converted(&candidate, &workspace, (&beside, &file))
    }
}

/// The documents of an image whose one layer is the archive itself, not compressed.
fn candidate(
    diff_id: Digest,
    archive_bytes: u64,
    name: &Reference,
    options: &ImportOptions,
) -> Candidate {
    let config_bytes = configuration(diff_id, options);
    let id = Digest::of(&config_bytes);
    let manifest = Manifest::of((id, config_bytes.len() as u64), [(diff_id, archive_bytes)]);
    Candidate {
        manifest_bytes: serde_json::to_vec(&manifest).expect("a manifest is JSON"),
        manifest,
        config: manifest::Config::parse(&config_bytes, id).expect("it was just made"),
        config_bytes,
        index: None,
        references: vec![name.clone()],
    }
}

fn configuration(diff_id: Digest, options: &ImportOptions) -> Vec<u8> {
    let env = match options
        .env
        .iter()
        .any(|variable| variable.starts_with("PATH="))
    {
        true => options.env.clone(),
        false => [&[DEFAULT_PATH.to_owned()], &options.env[..]].concat(),
    };
    let mut run = Config::default();
    run.set_env(Some(env));
    run.set_cmd(options.cmd.clone());
    run.set_entrypoint(options.entrypoint.clone());
    run.set_user(options.user.clone());
    run.set_working_dir(options.working_dir.clone());
    let mut layer = History::default();
    layer.set_created(options.created.clone());
    layer.set_comment(options.comment.clone());
    let mut layers = RootFs::default();
    layers.set_diff_ids(vec![diff_id.to_string()]);
    let mut image = ImageConfiguration::default();
    image.set_architecture(Platform::host().architecture.as_str().into());
    image.set_os(Os::Linux);
    image.set_created(options.created.clone());
    image.set_config(Some(run));
    image.set_rootfs(layers);
    image.set_history(Some(vec![layer]));
    serde_json::to_vec(&image).expect("a configuration is JSON")
}
