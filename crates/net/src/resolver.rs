//! The host's resolver configuration: what of resolv.conf(5) a guest can use.

use std::fs::File;
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where the host keeps it.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// A resolv.conf is a few lines; reading stops here, so that a device or an endless file in its place does no harm.
const MAX_BYTES: u64 = 64 * 1024;
/// resolv.conf(5), `nameserver`: the C library uses no more than three.
const MAX_NAMESERVERS: usize = 3;
/// resolv.conf(5), `search`: six domains before glibc 2.26; more are rarely meant.
const MAX_SEARCH: usize = 6;
/// RFC 1035, section 2.3.4: a domain name has at most 255 octets.
const MAX_DOMAIN: usize = 255;

/// The resolver configuration of the host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResolverConfig {
    /// IPv4 resolvers, first choice first. Resolvers with an IPv6 address are left out.
    pub nameservers: Vec<Ipv4Addr>,
    /// Domains to try behind a short name.
    pub search: Vec<String>,
}

/// The host's resolver configuration could not be read.
#[derive(Debug, Error)]
#[error("cannot read the resolver's configuration {}: {source}", path.display())]
pub struct ResolverError {
    path: PathBuf,
    source: std::io::Error,
}

impl ResolverConfig {
    /// Reads /etc/resolv.conf. A host without that file has no resolver, which is no error.
    pub(crate) fn of_host() -> Result<Self, ResolverError> {
        Self::read(Path::new(RESOLV_CONF))
    }

    fn read(path: &Path) -> Result<Self, ResolverError> {
        let mut text = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_BYTES).read_to_end(&mut text));
        match read {
            Ok(_) => Ok(Self::parse(&String::from_utf8_lossy(&text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(ResolverError {
                path: path.to_owned(),
                source,
            }),
        }
    }

    /// Takes what it understands from `text` and skips the rest, as the C library does.
    pub(crate) fn parse(text: &str) -> Self {
        let mut config = Self::default();
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => config.nameservers.extend(words.next().and_then(ipv4)),
                // Of several `search` and `domain` lines, the last one counts.
                Some("search" | "domain") => {
                    config.search = words
                        .filter(|domain| is_domain(domain))
                        .map(str::to_owned)
                        .collect();
                }
                _ => {}
            }
        }
        config.nameservers.truncate(MAX_NAMESERVERS);
        config.search.truncate(MAX_SEARCH);
        config
    }
}

fn ipv4(word: &str) -> Option<Ipv4Addr> {
    match word.parse() {
        Ok(IpAddr::V4(address)) => Some(address),
        Ok(IpAddr::V6(address)) => address.to_ipv4_mapped(),
        Err(_) => None,
    }
}

fn is_domain(word: &str) -> bool {
    word.len() <= MAX_DOMAIN
        && word
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

#[cfg(test)]
#[path = "resolver_test.rs"]
mod tests;
