//! `cenote image rm`: remove images.

use std::io::{self, Write};
use std::process::ExitCode;

use cenote_image::{Image, Removed};
use clap::Args;

use crate::verbs::sandbox;

/// Remove images
#[derive(Debug, Args)]
pub struct Rm {
    /// Remove the name also if containers still use the image
    #[arg(short, long)]
    force: bool,
    /// All images
    #[arg(short, long, conflicts_with = "images")]
    all: bool,
    /// Names or ids
    #[arg(required_unless_present = "all", value_name = "IMAGE")]
    images: Vec<String>,
}

impl Rm {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let store = super::store()?;
        let names = match self.all {
            true => store
                .list()?
                .iter()
                .map(|image| image.id.to_string())
                .collect(),
            false => self.images,
        };
        for name in &names {
            let image = store.resolve(name)?;
            if !self.force && image.references.len() < 2 {
                unused(&image)?;
            }
            tell(&store.remove(name, self.force || self.all)?)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Refuses if a container, running or not, is made of the image.
fn unused(image: &Image) -> anyhow::Result<()> {
    let id = image.id.to_string();
    let users = sandbox::store()?.list()?;
    match users.iter().find(|sandbox| sandbox.spec().image.id == id) {
        None => Ok(()),
        Some(user) => {
            let name = &user.spec().name;
            anyhow::bail!(
                "container {name} is made of image {id}: remove it (`cenote rm {name}`), or use --force"
            )
        }
    }
}

/// Prints what is gone, as podman does.
pub fn tell(removed: &Removed) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for name in &removed.untagged {
        writeln!(out, "untagged {name}")?;
    }
    for id in &removed.deleted {
        writeln!(out, "deleted {id}")?;
    }
    Ok(())
}
