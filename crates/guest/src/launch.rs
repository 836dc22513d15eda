//! Starts a process where the calling thread is: everything is prepared here, so that the new process has only
//! system calls left to make (see [`crate::child`]).

use std::ffi::CString;
use std::fs;
use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use cenote_protocol::{ProcessSpec, Refusal, Refused};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{WaitId, WaitIdOptions, waitid};

use crate::child::{self, Report, Task};
use crate::streams::ProcessEnds;
use crate::sys::{self, Fork, Forked, Process};
use crate::user::{self, Identity};

/// The search path where neither the image nor the user gives one.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process that is ready to be started.
#[derive(Debug)]
pub struct Launch {
    task: Task,
    program: String,
    cwd: String,
    create_cwd: bool,
}

/// A refusal with its message.
pub fn refused(reason: Refusal, message: impl ToString) -> Refused {
    Refused {
        reason,
        message: message.to_string(),
    }
}

impl Launch {
    /// Checks and prepares a request. The user is looked up in the calling thread's root.
    ///
    /// # Errors
    /// [`Refusal::BadUser`], or [`Refusal::BadRequest`] for what no process can have: no argument, a zero byte, a
    /// relative working directory.
    pub fn prepare(
        spec: &ProcessSpec,
        identity: &Identity,
        hostname: &str,
    ) -> Result<Launch, Refused> {
        let Some(program) = spec.args.first().filter(|program| !program.is_empty()) else {
            return Err(refused(
                Refusal::BadRequest,
                "there is no program to run: the image names none either",
            ));
        };
        if !spec.cwd.starts_with('/') {
            let message = format!(
                "the working directory {:?} is not an absolute path",
                spec.cwd
            );
            return Err(refused(Refusal::BadRequest, message));
        }
        let env = environment(spec, identity, hostname);
        let programs = candidates(program, &env);
        let task = Task {
            programs: strings(&programs)?,
            args: child::Pointers::new(strings(&spec.args)?),
            env: child::Pointers::new(strings(&env)?),
            cwd: string(&spec.cwd)?,
            uid: identity.uid,
            gid: identity.gid,
            groups: identity.groups.clone(),
            capabilities: spec.capabilities,
            rlimits: spec.rlimits.clone(),
            no_new_privileges: spec.no_new_privileges,
            init: spec.init,
            cgroup: None,
            container: false,
        };
        Ok(Launch {
            task,
            program: program.clone(),
            cwd: spec.cwd.clone(),
            create_cwd: spec.create_cwd,
        })
    }

    /// Makes the process the first one of a container: a PID namespace of its own, and the mounts that need it.
    #[must_use]
    pub fn as_container(mut self) -> Launch {
        self.task.container = true;
        self
    }

    /// Lets the process begin in a control group.
    #[must_use]
    pub fn in_cgroup(mut self, cgroup: Option<OwnedFd>) -> Launch {
        self.task.cgroup = cgroup;
        self
    }

    /// Starts the process and waits until its program runs.
    ///
    /// # Errors
    /// The refusal that says which step failed; nothing is left behind.
    pub fn start(self, ends: ProcessEnds) -> Result<Process, Refused> {
        if self.create_cwd {
            // What is in its way is told by the step that enters it.
            let _ = fs::create_dir_all(&self.cwd);
        }
        let (reports, report_to) =
            pipe_with(PipeFlags::CLOEXEC).map_err(|errno| system("a pipe", errno))?;
        let how = Fork {
            new_pid_namespace: self.task.container,
            cgroup: self.task.cgroup.as_ref().map(AsRawFd::as_raw_fd),
        };
        // SAFETY: the child runs `child::run`, which makes system calls only, and never returns.
        let process = match unsafe { sys::fork(how) } {
            Ok(Forked::Child) => child::run(&self.task, &ends, report_to.as_fd()),
            Ok(Forked::Parent(process)) => process,
            Err(errno) => return Err(system("a process", errno)),
        };
        drop((ends, report_to));
        let mut bytes = [0; Report::LEN];
        // The pipe ends without a word when the program runs.
        match fs::File::from(reports).read_exact(&mut bytes) {
            Err(_) => Ok(process),
            Ok(()) => {
                reap(process.pidfd.as_fd());
                Err(self.explain(Report::from_bytes(bytes)))
            }
        }
    }

    fn explain(&self, report: Report) -> Refused {
        let Report { step, errno } = report;
        match step {
            child::Step::Execute if matches!(errno, Errno::NOENT | Errno::NOTDIR) => {
                let place = if self.program.contains('/') {
                    ""
                } else {
                    " in $PATH"
                };
                refused(
                    Refusal::NotFound,
                    format!("executable file {:?} not found{place}", self.program),
                )
            }
            child::Step::Execute => refused(
                Refusal::CannotExecute,
                format!("cannot execute {:?}: {errno}", self.program),
            ),
            child::Step::EnterWorkdir => refused(
                Refusal::BadWorkdir,
                format!("cannot enter the working directory {:?}: {errno}", self.cwd),
            ),
            step => refused(
                Refusal::System,
                format!("cannot {} for {:?}: {errno}", step.words(), self.program),
            ),
        }
    }
}

fn system(what: &str, errno: Errno) -> Refused {
    // The kernel says "no memory" when the namespace of a container that has ended is to be joined.
    let reason = if errno == Errno::NOMEM {
        Refusal::NotRunning
    } else {
        Refusal::System
    };
    refused(reason, format!("the guest has no {what} left: {errno}"))
}

/// Takes the remains of a process that never became its program.
fn reap(pidfd: BorrowedFd<'_>) {
    while let Err(Errno::INTR) = waitid(WaitId::PidFd(pidfd), WaitIdOptions::EXITED) {}
}

/// Who runs the process.
///
/// # Errors
/// [`Refusal::BadUser`].
pub fn identity(spec: &ProcessSpec) -> Result<Identity, Refused> {
    user::resolve(&spec.user, Path::new("/")).map_err(|error| refused(Refusal::BadUser, error))
}

/// The environment with what every process expects in it.
fn environment(spec: &ProcessSpec, identity: &Identity, hostname: &str) -> Vec<String> {
    let mut env = spec.env.clone();
    let mut default = |name: &str, value: &str| {
        let set = env.iter().any(|entry| {
            entry
                .split_once('=')
                .is_some_and(|(known, _)| known == name)
        });
        if !set {
            env.push(format!("{name}={value}"));
        }
    };
    default("PATH", DEFAULT_PATH);
    default("HOSTNAME", hostname);
    default("HOME", &identity.home);
    if spec.terminal.is_some() {
        default("TERM", "xterm");
    }
    env
}

/// The paths under which the program is tried, in order (execvp(3)).
fn candidates(program: &str, env: &[String]) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    let path = env
        .iter()
        .find_map(|entry| entry.strip_prefix("PATH="))
        .unwrap_or(DEFAULT_PATH);
    path.split(':')
        .map(|folder| {
            if folder.is_empty() {
                format!("./{program}")
            } else {
                format!("{folder}/{program}")
            }
        })
        .collect()
}

fn strings(texts: &[String]) -> Result<Vec<CString>, Refused> {
    texts.iter().map(|text| string(text)).collect()
}

fn string(text: &str) -> Result<CString, Refused> {
    CString::new(text)
        .map_err(|_| refused(Refusal::BadRequest, format!("{text:?} holds a zero byte")))
}

#[cfg(test)]
#[path = "launch_test.rs"]
mod tests;
