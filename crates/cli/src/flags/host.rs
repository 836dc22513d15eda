//! `--add-host NAME:ADDRESS`: a line for the container's /etc/hosts.

use std::net::Ipv4Addr;
use std::str::FromStr;

/// One line of /etc/hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostEntry {
    /// The name, without white space.
    pub name: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// A text that is no such line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no host entry: write NAME:ADDRESS with an IPv4 address, such as db:192.0.2.7")]
pub struct BadHost(String);

impl FromStr for HostEntry {
    type Err = BadHost;

    fn from_str(text: &str) -> Result<Self, BadHost> {
        let bad = || BadHost(text.to_owned());
        let (name, address) = text.split_once(':').ok_or_else(bad)?;
        let strange = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        if name.is_empty() || name.contains(strange) {
            return Err(bad());
        }
        Ok(HostEntry {
            name: name.to_owned(),
            address: address.parse().map_err(|_| bad())?,
        })
    }
}

#[cfg(test)]
#[path = "host_test.rs"]
mod tests;
