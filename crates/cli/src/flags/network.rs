//! `--network`: which network the container has.

use std::str::FromStr;

/// A container's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// Out through user-mode networking.
    Default,
    /// A loopback only.
    None,
}

/// A network that is not offered.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadNetwork {
    /// podman's sharing of a network that a virtual machine cannot share.
    #[error(
        "network `{0}` is not supported: the container's kernel has a network of its own; use default or none"
    )]
    Shared(String),
    /// A name of a network.
    #[error("network `{0}` is not supported: there are default and none, no named networks")]
    Named(String),
}

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        match text.split(':').next() {
            Some("default") if text == "default" => Ok(Network::Default),
            Some("none") if text == "none" => Ok(Network::None),
            Some("host" | "container" | "ns") => Err(BadNetwork::Shared(text.to_owned())),
            _ => Err(BadNetwork::Named(text.to_owned())),
        }
    }
}

#[cfg(test)]
#[path = "network_test.rs"]
mod tests;
