//! Loads the kernel modules that a distribution's kernel needs to be this machine.
//!
//! The initramfs lists them in `/modules`: one path in a line, in load order; `#` begins a comment. A line `--`
//! divides the list: what stands above it is needed to reach the host. A kernel with everything built in has no list.

use std::fs::{self, File};

use rustix::io::Errno;
use rustix::system::finit_module;

use crate::log;

/// Where the initramfs has the list.
pub const LIST: &str = "/modules";

/// The list in its two parts, each in load order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Modules {
    /// Needed to reach the host.
    pub first: Vec<String>,
    /// Needed for the rest.
    pub rest: Vec<String>,
}

impl Modules {
    /// Reads the list of this initramfs; empty if there is none.
    pub fn of_initramfs() -> Modules {
        fs::read_to_string(LIST)
            .map(|text| Modules::parse(&text))
            .unwrap_or_default()
    }

    /// Reads a list.
    pub fn parse(text: &str) -> Modules {
        let mut modules = Modules::default();
        let mut part = &mut modules.first;
        for line in text.lines() {
            match line.split('#').next().unwrap_or_default().trim() {
                "" => {}
                "--" => part = &mut modules.rest,
                path => part.push(path.to_owned()),
            }
        }
        modules
    }
}

/// Loads modules in order. One that does not load is named on the console; the step that needs it will fail and say
/// so to the host. Of those for several processors only one fits this one, which is no news.
pub fn load(paths: &[String]) {
    for path in paths {
        if let Err(error) = load_one(path)
            && error.raw_os_error() != Some(Errno::OPNOTSUPP.raw_os_error())
        {
            log::line(format_args!("cannot load the module {path}: {error}"));
        }
    }
}

fn load_one(path: &str) -> std::io::Result<()> {
    match finit_module(File::open(path)?, c"", 0) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(test)]
#[path = "modules_test.rs"]
mod tests;
