//! `cenote create`: make a container without starting it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Context;
use cenote_image::Image;
use cenote_sandbox::store::Error as StoreError;
use cenote_sandbox::{Host, Paths, Sandbox, Store, spec};
use clap::Args;

use super::container::ContainerFlags;
use super::{fetch, rm};
use crate::flags::env;
use crate::flags::name::{self, Name};
use crate::plan::Plan;

/// Retries when a made-up name is taken.
const NAME_ATTEMPTS: u32 = 1000;

/// Make a container without starting it
#[derive(Debug, Args)]
#[command(override_usage = "cenote create [OPTIONS] IMAGE [COMMAND [ARG]...]")]
pub struct Create {
    #[command(flatten)]
    container: ContainerFlags,
}

impl Create {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let plan = Plan::new(&self.container, &env::of_host())?;
        let paths = Paths::from_env()?;
        let sandbox = create(&paths, &Host::new(&paths), &self.container, &plan)?;
        writeln!(io::stdout(), "{}", sandbox.id())?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Fetches the image if need be and makes the sandbox, if this host can run it.
pub fn create(
    paths: &Paths,
    host: &Host,
    flags: &ContainerFlags,
    plan: &Plan,
) -> anyhow::Result<Sandbox> {
    let Some(path) = &flags.cidfile else {
        return make(paths, host, flags, plan);
    };
    let failed = || format!("cannot write the --cidfile {}", path.display());
    let mut file = File::create_new(path).with_context(failed)?;
    let made = make(paths, host, flags, plan);
    match &made {
        Ok(sandbox) => file
            .write_all(sandbox.id().as_bytes())
            .with_context(failed)?,
        Err(_) => fs::remove_file(path).with_context(failed)?,
    }
    made
}

fn make(
    paths: &Paths,
    host: &Host,
    flags: &ContainerFlags,
    plan: &Plan,
) -> anyhow::Result<Sandbox> {
    let images = paths.images()?;
    let image = fetch::image(&images, flags.image(), flags.pull, flags.quiet)?;
    // Until the sandbox is there, nothing else keeps its images from being removed.
    let mut leases = vec![images.lease(&image)?];
    let mut nested = Vec::new();
    for text in &flags.nested_image {
        let image = fetch::image(&images, text, flags.pull, flags.quiet)?;
        leases.push(images.lease(&image)?);
        nested.push(named(&image));
    }
    let run = named(&image);
    if flags.nested_image.is_empty() {
        nested.push(run.clone());
    }
    with_name(&Store::open(paths)?, flags, |name| {
        let spec = plan.spec(name, run.clone(), &image.config, &nested)?;
        host.backend(&spec)?;
        host.kernel(spec.kernel.as_deref())?;
        Ok(spec)
    })
}

/// An image as a specification names it.
fn named(image: &Image) -> spec::Image {
    let name = image.references.first();
    spec::Image {
        reference: name.map_or_else(|| image.id.to_string(), ToString::to_string),
        id: image.id.to_string(),
    }
}

/// Creates the sandbox under the name that was given, or one that is free.
fn with_name(
    store: &Store,
    flags: &ContainerFlags,
    spec: impl Fn(String) -> anyhow::Result<spec::Spec>,
) -> anyhow::Result<Sandbox> {
    if let Some(Name(name)) = &flags.name {
        if flags.replace {
            match store.find(name) {
                Err(StoreError::NotFound(_)) => {}
                // An id that begins so is another container.
                Ok(other) if other.spec().name != *name => {}
                other => rm::remove(&other?, true, false)?,
            }
        }
        return Ok(store.create(&spec(name.clone())?)?);
    }
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    for attempt in 0..NAME_ATTEMPTS {
        let Name(name) = name::generated(u64::from_ne_bytes(random), attempt);
        match store.create(&spec(name)?) {
            Err(StoreError::NameInUse { .. }) => {}
            other => return Ok(other?),
        }
    }
    anyhow::bail!("no free name found: give one with --name")
}
