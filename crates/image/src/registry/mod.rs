//! The client of registries (OCI distribution specification 1.1, "Pulling manifests" and "Pulling blobs").
//!
//! TLS for all but loopback registries. What a registry says is believed in nothing but its errors: every length is bounded here, every
//! digest is checked by whoever asked. A client of our own, because bodies must be bounded and blobs resumed, and both are
//! a few lines on blocking reads; the crate `oci-client` reads manifests of any length into memory.

mod auth;
mod blob;
mod credentials;

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{StatusCode, Url, redirect};

use crate::digest::Digest;
use crate::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, Descriptor, MAX_DOCUMENT, OCI_INDEX, OCI_MANIFEST,
};
use crate::reference::{LOCAL_REGISTRY, Reference, Version};

use auth::Challenge;
use blob::BlobReader;
use credentials::Credentials;

/// Why a registry did not give what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No client could be made.
    #[error(
        "cannot prepare a TLS connection: {0}; are there CA certificates (package ca-certificates, or SSL_CERT_FILE)?"
    )]
    Client(#[source] reqwest::Error),
    /// The registry's name gives no address to speak to.
    #[error("`{0}` is no address of a registry")]
    Address(String),
    /// No answer, or one that broke off.
    #[error("cannot get {url}: {}", root_cause(.source))]
    Request {
        /// What was asked for.
        url: String,
        /// What happened.
        source: reqwest::Error,
    },
    /// The answer's body broke off.
    #[error("cannot read {url}: {source}")]
    Body {
        /// What was asked for.
        url: String,
        /// What happened.
        source: std::io::Error,
    },
    /// The registry has no such repository, tag or digest, or keeps it a secret.
    #[error("{registry} has no {what}")]
    NotFound {
        /// The registry.
        registry: String,
        /// The image or blob.
        what: String,
    },
    /// The registry wants credentials, or others.
    #[error("{registry} refuses access to {what} ({hint})")]
    Unauthorized {
        /// The registry.
        registry: String,
        /// The image or blob.
        what: String,
        /// What credentials were tried, and where others can be put.
        hint: String,
    },
    /// Another answer than a success.
    #[error("{url} answers {status}: {message}")]
    Status {
        /// What was asked for.
        url: String,
        /// The code of the answer.
        status: StatusCode,
        /// The beginning of what the registry says, control characters escaped.
        message: String,
    },
    /// The registry asks for authentication in a way that is not known or not safe.
    #[error("{registry} asks for an authentication that is not possible: {problem}")]
    Challenge {
        /// The registry.
        registry: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A file of credentials is malformed.
    #[error("the credentials in {} are malformed: {problem}", path.display())]
    Credentials {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it; never a secret.
        problem: String,
    },
    /// A document is longer than any is.
    #[error("{0} is longer than {MAX_DOCUMENT} bytes")]
    TooLong(String),
}

/// The names of errors below reqwest's own, which says only that there was one.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Names that stand for another host in requests.
const DOCKER_IO: (&str, &str) = ("docker.io", "registry-1.docker.io");
/// Without a connection by then there is none.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Without a byte by then the connection is dead. Registries that fetch from elsewhere keep silent for some seconds.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How often a request is repeated that fails without our fault, with [`PAUSES`] in between.
const ATTEMPTS: u32 = 4;
const PAUSES: Duration = Duration::from_secs(1);
/// As much of an error's body as a message shows.
const MAX_MESSAGE: u64 = 512;

/// A connection to one repository.
pub(crate) struct Registry {
    client: Client,
    /// `https://host/v2/repository/`
    base: Url,
    registry: String,
    repository: String,
    credentials: Option<Credentials>,
    /// The header that made the last request succeed.
    authorization: Mutex<Option<HeaderValue>>,
}

/// A manifest or an index.
pub(crate) struct RawManifest {
    pub(crate) bytes: Vec<u8>,
    pub(crate) media_type: String,
}

impl Registry {
    /// Prepares to speak to the registry of `reference`. Nothing is sent yet.
    pub(crate) fn new(reference: &Reference) -> Result<Registry, RegistryError> {
        let name = reference.registry();
        let host = match name == DOCKER_IO.0 {
            true => DOCKER_IO.1,
            false => name,
        };
        let address = || RegistryError::Address(name.to_owned());
        let secure = Url::parse(&format!("https://{host}/v2/{}/", reference.repository()))
            .map_err(|_| address())?;
        let mut base = secure.clone();
        if is_loopback(&secure) {
            // `set_scheme` would drop a port that is the default of the other scheme; parsing does not.
            base = Url::parse(&format!("http://{host}/v2/{}/", reference.repository()))
                .map_err(|_| address())?;
        }
        Ok(Registry {
            client: client(&base)?,
            base,
            registry: name.to_owned(),
            repository: reference.repository().to_owned(),
            credentials: credentials::find(name, reference.repository())?,
            authorization: Mutex::new(None),
        })
    }

    /// The manifest or index that `reference` means now, with its digest, and its bytes.
    pub(crate) fn root(
        &self,
        reference: &Reference,
    ) -> Result<(Descriptor, Vec<u8>), RegistryError> {
        let version = match reference.version() {
            Version::Tag(tag) => tag.clone(),
            Version::Digest(digest) => digest.to_string(),
        };
        let RawManifest { bytes, media_type } = self.manifest(&version)?;
        let descriptor = Descriptor {
            media_type,
            digest: match reference.version() {
                Version::Tag(_) => Digest::of(&bytes),
                // Checked by the caller, as any other.
                Version::Digest(digest) => *digest,
            },
            size: bytes.len() as u64,
            platform: None,
            annotations: None,
        };
        Ok((descriptor, bytes))
    }

    /// A manifest or index by tag or digest. The digest is not checked.
    pub(crate) fn manifest(&self, version: &str) -> Result<RawManifest, RegistryError> {
        let what = format!("{}:{version}", self.repository);
        let accept = [OCI_INDEX, OCI_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST].join(", ");
        let response = self.get(&format!("manifests/{version}"), &what, |request| {
            request.header(ACCEPT, &accept)
        })?;
        let media_type = response
            .headers()
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split(';').next())
            .unwrap_or_default()
            .trim()
            .to_owned();
        let bytes = read_document(response)?;
        Ok(RawManifest { bytes, media_type })
    }

    /// A configuration. The digest is not checked.
    pub(crate) fn config(&self, digest: &Digest) -> Result<Vec<u8>, RegistryError> {
        let response = self.get(&format!("blobs/{digest}"), &digest.to_string(), |request| {
            request
        })?;
        read_document(response)
    }

    /// A blob of `size` bytes; asked for when it is first read. The digest is not checked.
    pub(crate) fn blob(&self, digest: Digest, size: u64) -> BlobReader<'_> {
        BlobReader::new(self, digest, size)
    }

    /// A blob from byte `start` on.
    fn blob_from(&self, digest: &Digest, start: u64) -> Result<Response, RegistryError> {
        self.get(
            &format!("blobs/{digest}"),
            &digest.to_string(),
            |request| match start {
                0 => request,
                start => request.header(RANGE, format!("bytes={start}-")),
            },
        )
    }

    /// A request that authenticates when it is asked to, and is repeated when the registry is busy. `what` is for messages.
    fn get(
        &self,
        path: &str,
        what: &str,
        prepare: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, RegistryError> {
        let url = self
            .base
            .join(path)
            .map_err(|_| RegistryError::Address(self.registry.clone()))?;
        let mut authenticated = false;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let mut request = prepare(self.client.get(url.clone()));
            if let Some(authorization) =
                self.authorization.lock().expect("no holder panics").clone()
            {
                request = request.header(AUTHORIZATION, authorization);
            }
            let response = match request.send() {
                Err(error) if is_transient(&error) && attempt < ATTEMPTS => {
                    tracing::debug!(%url, %error, "request repeated");
                    std::thread::sleep(PAUSES * attempt);
                    continue;
                }
                response => response.map_err(|source| RegistryError::Request {
                    url: url.to_string(),
                    source: source.without_url(),
                })?,
            };
            match response.status() {
                status if status.is_success() => return Ok(response),
                StatusCode::UNAUTHORIZED if !authenticated => {
                    authenticated = true;
                    self.authenticate(&response, what)?;
                }
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                    if attempt < ATTEMPTS =>
                {
                    std::thread::sleep(pause(&response).unwrap_or(PAUSES * attempt));
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return Err(self.unauthorized(what));
                }
                StatusCode::NOT_FOUND => {
                    return Err(RegistryError::NotFound {
                        registry: self.registry.clone(),
                        what: what.to_owned(),
                    });
                }
                _ => return Err(status_error(response)),
            }
        }
    }

    fn authenticate(&self, response: &Response, what: &str) -> Result<(), RegistryError> {
        let challenge = Challenge::of(response).map_err(|problem| self.challenge(problem))?;
        let header = match challenge {
            Challenge::Basic => match &self.credentials {
                Some(credentials) => credentials.basic(),
                None => return Err(self.unauthorized(what)),
            },
            Challenge::Bearer {
                realm,
                service,
                scope,
            } => {
                if !is_safe(&realm, &self.base) {
                    return Err(
                        self.challenge(format!("its token server {realm} is not reached by TLS"))
                    );
                }
                let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
                self.token(realm, service.as_deref(), &scope, what)?
            }
        };
        *self.authorization.lock().expect("no holder panics") = Some(header);
        Ok(())
    }

    fn challenge(&self, problem: String) -> RegistryError {
        RegistryError::Challenge {
            registry: self.registry.clone(),
            problem,
        }
    }

    fn unauthorized(&self, what: &str) -> RegistryError {
        RegistryError::Unauthorized {
            registry: self.registry.clone(),
            what: what.to_owned(),
            hint: match &self.credentials {
                Some(credentials) => {
                    format!("with the credentials of {}", credentials.origin.display())
                }
                None => format!(
                    "without credentials; put some for it into {} with `podman login` or `docker login`",
                    credentials::usual_file().display()
                ),
            },
        }
    }
}

fn client(base: &Url) -> Result<Client, RegistryError> {
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
fn is_safe(url: &Url, base: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url) && is_loopback(base),
        _ => false,
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == LOCAL_REGISTRY,
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn is_transient(error: &reqwest::Error) -> bool {
    error.is_timeout() || error.is_request() && !error.is_connect() && !error.is_redirect()
}

/// How long the registry asks us to wait, if that is bearable.
fn pause(response: &Response) -> Option<Duration> {
    const BEARABLE: u64 = 30;
    let seconds: u64 = response
        .headers()
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .parse()
        .ok()?;
    (seconds <= BEARABLE).then(|| Duration::from_secs(seconds))
}

fn read_document(response: Response) -> Result<Vec<u8>, RegistryError> {
    let url = response.url().to_string();
    let mut bytes = Vec::new();
    match response.take(MAX_DOCUMENT + 1).read_to_end(&mut bytes) {
        Err(source) => Err(RegistryError::Body { url, source }),
        Ok(_) if bytes.len() as u64 > MAX_DOCUMENT => Err(RegistryError::TooLong(url)),
        Ok(_) => Ok(bytes),
    }
}

fn status_error(response: Response) -> RegistryError {
    let (url, status) = (response.url().to_string(), response.status());
    let mut message = Vec::new();
    // Whatever arrives of it.
    let _ = response.take(MAX_MESSAGE).read_to_end(&mut message);
    RegistryError::Status {
        url,
        status,
        message: String::from_utf8_lossy(&message).escape_debug().to_string(),
    }
}
