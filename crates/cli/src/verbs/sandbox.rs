//! What the verbs about existing containers share: finding them by name or id, one after another.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::anyhow;
use cenote_sandbox::{Paths, Sandbox, Store};

/// The sandboxes of this user.
pub fn store() -> anyhow::Result<Store> {
    Ok(Store::open(&Paths::from_env()?)?)
}

/// The sandbox of this name, id or beginning of an id.
pub fn find(name: &str) -> anyhow::Result<Sandbox> {
    Ok(store()?.find(name)?)
}

/// Does something to each of `names` and prints the name where it worked, as podman does. One that fails does not
/// keep the others from their turn; its error is told, and the last one is the verb's.
pub fn each(
    names: &[String],
    act: impl Fn(&Sandbox) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let store = store()?;
    let mut failure = None;
    for name in names {
        match store
            .find(name)
            .map_err(anyhow::Error::from)
            .and_then(|sandbox| act(&sandbox))
        {
            Ok(()) => writeln!(io::stdout(), "{name}")?,
            Err(error) => {
                if let Some(earlier) = failure.replace(error) {
                    crate::report(&earlier);
                }
            }
        }
    }
    failure.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// The containers that were named, or with `all` every one for which `wanted` holds.
pub fn named_or_all(
    names: Vec<String>,
    all: bool,
    wanted: impl Fn(&Sandbox) -> bool,
) -> anyhow::Result<Vec<String>> {
    match (names.is_empty(), all) {
        (false, false) => Ok(names),
        (true, true) => {
            let found = store()?.list()?.into_iter().filter(wanted);
            Ok(found.map(|sandbox| sandbox.id().to_owned()).collect())
        }
        (true, false) => Err(anyhow!("name a container, or use --all")),
        (false, true) => Err(anyhow!("--all does not go with names")),
    }
}
