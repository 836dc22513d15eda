//! The flags that `run`, `create` and `exec` share: how a process in the container is started.

use std::path::PathBuf;

use clap::Args;

use super::env::{self, Env, EnvError};

/// How a process is started.
#[derive(Debug, Args)]
pub struct ProcessFlags {
    /// Keep standard input open and forward it
    #[arg(short, long)]
    pub interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    pub tty: bool,
    /// Set a variable; without a value take the caller's own, 'PREFIX*' takes all that begin so
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    pub env: Vec<String>,
    /// Read variables from a file, one NAME=VALUE a line
    #[arg(long, value_name = "FILE")]
    pub env_file: Vec<PathBuf>,
    /// User to run as: name or number, with an optional group
    #[arg(short, long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Folder to start in
    #[arg(short, long, value_name = "PATH", value_parser = absolute)]
    pub workdir: Option<String>,
}

impl ProcessFlags {
    /// The variables that the flags give, seen from a caller with the environment `host`.
    pub fn env(&self, host: &Env) -> Result<Env, EnvError> {
        env::resolve(&self.env_file, &self.env, host)
    }
}

/// A path inside the container, which has no current folder to be relative to.
pub fn absolute(path: &str) -> Result<String, String> {
    match path.starts_with('/') && !path.contains('\0') {
        true => Ok(path.to_owned()),
        false => Err("a path in the container must begin with `/`".to_owned()),
    }
}
