//! Environment variables: `-e NAME=VALUE`, `-e NAME`, `-e 'PREFIX*'` and `--env-file`, by podman's rules.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest environment file that is read: more than the kernel accepts for arguments and environment together.
const MAX_FILE: u64 = 8 << 20;

/// Variables by name.
pub type Env = BTreeMap<String, String>;

/// What is wrong with an environment flag or file.
#[derive(Debug, thiserror::Error)]
pub enum EnvError {
    /// A name that is empty or contains white space or a NUL.
    #[error("`{0}` is no environment variable: write NAME=VALUE, NAME or 'PREFIX*'")]
    Bad(String),
    /// A line of a file that is no variable.
    #[error("{path}, line {line}: {source}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong with it.
        source: Box<EnvError>,
    },
    /// A file that cannot be read.
    #[error("cannot read environment file {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file above `MAX_FILE`.
    #[error("environment file {0} is larger than 8 MiB")]
    TooLarge(PathBuf),
}

/// The variables that flags give: files first, then `-e` in order, later ones win. `host` is the
/// caller's own environment, for flags that name a variable without a value.
pub fn resolve(files: &[PathBuf], flags: &[String], host: &Env) -> Result<Env, EnvError> {
    let mut env = Env::new();
    for path in files {
        read_file(path, host, &mut env)?;
    }
    for flag in flags {
        add(flag, host, &mut env)?;
    }
    Ok(env)
}

fn read_file(path: &Path, host: &Env, env: &mut Env) -> Result<(), EnvError> {
    let unreadable = |source| EnvError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    std::io::Read::read_to_string(&mut std::io::Read::take(file, MAX_FILE + 1), &mut text)
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_FILE {
        return Err(EnvError::TooLarge(path.to_owned()));
    }
    for (index, line) in text.lines().enumerate() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        add(line, host, env).map_err(|source| EnvError::Line {
            path: path.to_owned(),
            line: index + 1,
            source: Box::new(source),
        })?;
    }
    Ok(())
}

fn add(text: &str, host: &Env, env: &mut Env) -> Result<(), EnvError> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (text, None),
    };
    let bad = name.is_empty() || name.contains(|c: char| c.is_whitespace() || c == '\0');
    if bad || value.is_some_and(|value| value.contains('\0')) {
        return Err(EnvError::Bad(text.to_owned()));
    }
    match (value, name.strip_suffix('*')) {
        (Some(value), _) => {
            env.insert(name.to_owned(), value.to_owned());
        }
        (None, Some(prefix)) => {
            let matching = host.iter().filter(|(key, _)| key.starts_with(prefix));
            env.extend(matching.map(|(key, value)| (key.clone(), value.clone())));
        }
        (None, None) => {
            if let Some(value) = host.get(name) {
                env.insert(name.to_owned(), value.clone());
            }
        }
    }
    Ok(())
}

/// The caller's environment; variables that are not UTF-8 are left out, as no flag can name them.
pub fn of_host() -> Env {
    std::env::vars_os()
        .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

#[cfg(test)]
#[path = "env_test.rs"]
mod tests;
