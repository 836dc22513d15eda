//! Credentials in the files of podman and docker (containers-auth.json(5)): the plain `auths` entries.
//!
//! Credential helpers are programs of other packages and are not run.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::HeaderValue;
use serde::Deserialize;

use super::RegistryError;

/// A user and a password for a registry.
pub(super) struct Credentials {
    /// The file that they are from.
    pub(super) origin: PathBuf,
    /// `user:password` in base64.
    encoded: String,
}

impl Credentials {
    /// The header of RFC 7617.
    pub(super) fn basic(&self) -> HeaderValue {
        let text = format!("Basic {}", self.encoded);
        let mut header = HeaderValue::from_str(&text).expect("base64 is ASCII");
        header.set_sensitive(true);
        header
    }
}

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(default)]
    auth: Option<String>,
    #[serde(default)]
    username: Option<String>,
    #[serde(default)]
    password: Option<String>,
}

/// How docker calls its own registry in its file.
const DOCKER_KEY: &str = "https://index.docker.io/v1/";

/// Looks through the files for the most exact entry for `registry/repository`.
pub(super) fn find(registry: &str, repository: &str) -> Result<Option<Credentials>, RegistryError> {
    for path in files(|name| std::env::var_os(name).map(PathBuf::from)) {
        if let Some(found) = find_in(&path, registry, repository)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// The file to name to a user who has none.
pub(super) fn usual_file() -> PathBuf {
    files(|name| std::env::var_os(name).map(PathBuf::from))
        .into_iter()
        .next()
        .unwrap_or_else(|| PathBuf::from("~/.docker/config.json"))
}

/// In the order in which they count. `$REGISTRY_AUTH_FILE` replaces all others.
fn files(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    if let Some(file) = variable("REGISTRY_AUTH_FILE") {
        return vec![file];
    }
    let home = |rest: &str| variable("HOME").map(|home| home.join(rest));
    let config = variable("XDG_CONFIG_HOME").or_else(|| home(".config"));
    [
        variable("XDG_RUNTIME_DIR").map(|folder| folder.join("containers/auth.json")),
        config.map(|folder| folder.join("containers/auth.json")),
        variable("DOCKER_CONFIG")
            .or_else(|| home(".docker"))
            .map(|folder| folder.join("config.json")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn find_in(
    path: &Path,
    registry: &str,
    repository: &str,
) -> Result<Option<Credentials>, RegistryError> {
    let malformed = |problem: String| RegistryError::Credentials {
        path: path.to_owned(),
        problem,
    };
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(malformed(error.to_string())),
    };
    // serde_json's messages name places, not values.
    let file: File = serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
    for key in keys(registry, repository) {
        let Some(entry) = file.auths.get(&key) else {
            continue;
        };
        let encoded = match entry {
            Entry {
                auth: Some(auth), ..
            } if !auth.is_empty() => {
                let decoded = STANDARD.decode(auth).unwrap_or_default();
                if !decoded.contains(&b':') {
                    return Err(malformed(format!(
                        "`auth` of `{key}` is not user:password in base64"
                    )));
                }
                auth.clone()
            }
            Entry {
                username: Some(user),
                password: Some(password),
                ..
            } => STANDARD.encode(format!("{user}:{password}")),
            _ => continue,
        };
        return Ok(Some(Credentials {
            origin: path.to_owned(),
            encoded,
        }));
    }
    Ok(None)
}

/// The repository itself, then its parents, then the registry in the ways that docker has written it.
fn keys(registry: &str, repository: &str) -> Vec<String> {
    let full = format!("{registry}/{repository}");
    let mut keys: Vec<String> = full
        .match_indices('/')
        .map(|(slash, _)| full[..slash].to_owned())
        .chain([full.clone()])
        .rev()
        .collect();
    keys.extend([
        format!("https://{registry}"),
        format!("https://{registry}/v1/"),
        format!("https://{registry}/v2/"),
    ]);
    if registry == "docker.io" {
        keys.extend([DOCKER_KEY.to_owned(), "index.docker.io".to_owned()]);
    }
    keys
}
