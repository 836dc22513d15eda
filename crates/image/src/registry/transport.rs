//! Connections: with whom TLS is spoken, where redirects may lead, how long to wait.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::blocking::Client;
use reqwest::{Url, redirect};

use super::RegistryError;
use crate::reference::LOCAL_REGISTRY;

/// Without a connection by then there is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Without a byte by then the connection is dead. Registries that fetch from elsewhere keep silent for some seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
pub(super) fn client(base: &Url) -> Result<Client, RegistryError> {
    // Another part of the program may have installed one already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let from = base.clone();
    let policy = redirect::Policy::custom(move |attempt| {
        let safe = is_safe(attempt.url(), &from);
        match attempt.previous().len() > MAX_REDIRECTS || !safe {
            true => {
                attempt.error("it redirects in a circle or to a place that is not reached by TLS")
            }
            false => attempt.follow(),
        }
    });
    let mut builder = Client::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .timeout(READ_TIMEOUT)
        .redirect(policy)
        .user_agent(concat!("cenote/", env!("CARGO_PKG_VERSION")));
    if is_loopback(base) {
        // No proxy can reach it, and no name server decides where it is.
        let loopback = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
        ];
        let addresses = loopback.map(|address| SocketAddr::new(address, 0));
        builder = builder
            .no_proxy()
            .resolve_to_addrs(LOCAL_REGISTRY, &addresses);
    }
    builder.build().map_err(RegistryError::Client)
}

/// Registries redirect blobs to storage servers, once; some of those redirect again.
const MAX_REDIRECTS: usize = 5;

/// Plain HTTP is for registries on this machine, and only those may lead to it.
pub(super) fn is_safe(url: &Url, base: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url) && is_loopback(base),
        _ => false,
    }
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == LOCAL_REGISTRY,
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

pub(super) fn is_transient(error: &reqwest::Error) -> bool {
    error.is_timeout() || error.is_request() && !error.is_connect() && !error.is_redirect()
}
