//! `cenote exec`: another process in a running container, or in its machine.

use std::collections::BTreeMap;
use std::process::ExitCode;

use cenote_protocol::{Capabilities, ExecRequest, ProcessSpec, Target};
use clap::Args;

use super::{launch, sandbox};
use crate::exit;
use crate::flags::env::{self, Env, EnvError};
use crate::flags::process::ProcessFlags;
use crate::terminal::window_size;

/// Run a command in a running container
#[derive(Debug, Args)]
#[command(override_usage = "cenote exec [OPTIONS] CONTAINER COMMAND [ARG]...")]
pub struct Exec {
    #[command(flatten)]
    process: ProcessFlags,
    /// Do not wait for the command, nor show its output
    #[arg(short, long, conflicts_with_all = ["interactive", "tty"])]
    detach: bool,
    /// Run it in the virtual machine itself, outside the container
    #[arg(long)]
    vm: bool,
    /// Name or id, then the command
    #[arg(
        required = true,
        trailing_var_arg = true,
        value_name = "CONTAINER COMMAND [ARG]..."
    )]
    container_and_command: Vec<String>,
}

impl Exec {
    pub fn run(self) -> anyhow::Result<ExitCode> {
        if let [name] = self.container_and_command.as_slice() {
            anyhow::bail!("give a command behind the container's name: cenote exec {name} COMMAND");
        }
        let sandbox = sandbox::find(&self.container_and_command[0])?;
        let request = self.request(&sandbox.spec().process, &env::of_host())?;
        let (stdio, guards) =
            launch::attach(request.process.stdin, request.process.terminal.is_some())?;
        let code = sandbox.exec(&request, stdio);
        drop(guards);
        Ok(exit::of_container(code?))
    }

    /// The request: in the container everything that the flags leave open is the main process's.
    fn request(&self, main: &ProcessSpec, host: &Env) -> Result<ExecRequest, EnvError> {
        let flags = &self.process;
        let base = match self.vm {
            true => bare(),
            false => main.clone(),
        };
        let mut variables: Env = split(&base.env);
        variables.extend(flags.env(host)?);
        let process = ProcessSpec {
            args: self.container_and_command[1..].to_vec(),
            env: variables
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect(),
            cwd: flags.workdir.clone().unwrap_or(base.cwd),
            create_cwd: false,
            user: flags.user.clone().unwrap_or(base.user),
            terminal: flags.tty.then(window_size),
            stdin: flags.interactive,
            init: false,
            ..base
        };
        let target = if self.vm {
            Target::Vm
        } else {
            Target::Container
        };
        Ok(ExecRequest {
            target,
            detach: self.detach,
            process,
        })
    }
}

/// A process of the machine: all rights, no variables.
fn bare() -> ProcessSpec {
    ProcessSpec {
        args: Vec::new(),
        env: Vec::new(),
        cwd: "/".to_owned(),
        create_cwd: false,
        user: String::new(),
        terminal: None,
        stdin: false,
        capabilities: Capabilities::ALL,
        rlimits: Vec::new(),
        no_new_privileges: false,
        init: false,
    }
}

fn split(env: &[String]) -> BTreeMap<String, String> {
    env.iter()
        .filter_map(|text| text.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

#[cfg(test)]
#[path = "exec_test.rs"]
mod tests;
