//! `--cpus N`: podman allows fractions of a CPU; a machine has whole ones, so they are rounded up.

use std::str::FromStr;

/// More than any guest kernel here is built for.
const MAX_CPUS: u32 = 255;

/// A number of virtual CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cpus(pub u32);

/// A text that is no number of CPUs.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no number of CPUs: write a number above 0 and up to {MAX_CPUS}")]
pub struct BadCpus(String);

impl FromStr for Cpus {
    type Err = BadCpus;

    fn from_str(text: &str) -> Result<Self, BadCpus> {
        let number: f64 = text.parse().map_err(|_| BadCpus(text.to_owned()))?;
        match number > 0.0 && number <= f64::from(MAX_CPUS) {
            true => Ok(Cpus(number.ceil() as u32)),
            false => Err(BadCpus(text.to_owned())),
        }
    }
}

#[cfg(test)]
#[path = "cpus_test.rs"]
mod tests;
