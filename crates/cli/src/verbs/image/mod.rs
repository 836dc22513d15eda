//! `cenote image`: the images in the store. `pull`, `load`, `import`, `images` and `rmi` stand at the top level too.

pub mod build_base;
pub mod import;
pub mod inspect;
pub mod load;
pub mod ls;
pub mod prune;
pub mod pull;
pub mod rm;

use std::process::ExitCode;

use cenote_image::Store;
use cenote_sandbox::Paths;
use clap::Subcommand;

/// Manage images
#[derive(Debug, Subcommand)]
pub enum Image {
    BuildBase(build_base::BuildBase),
    Import(import::Import),
    Inspect(inspect::Inspect),
    Load(load::Load),
    #[command(visible_alias = "list")]
    Ls(ls::Ls),
    Prune(prune::Prune),
    Pull(pull::Pull),
    Rm(rm::Rm),
}

impl Image {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self {
            Image::BuildBase(verb) => verb.run(),
            Image::Import(verb) => verb.run(),
            Image::Inspect(verb) => verb.run(),
            Image::Load(verb) => verb.run(),
            Image::Ls(verb) => verb.run(),
            Image::Prune(verb) => verb.run(),
            Image::Pull(verb) => verb.run(),
            Image::Rm(verb) => verb.run(),
        }
    }
}

fn store() -> anyhow::Result<Store> {
    Ok(Paths::from_env()?.images()?)
}
