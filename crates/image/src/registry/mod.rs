//! The client of registries (OCI distribution specification 1.1, "Pulling manifests" and "Pulling blobs").
//!
//! TLS for all but loopback registries. What a registry says is believed in nothing but its errors: every length is bounded here, every
//! digest is checked by whoever asked. A client of our own, because bodies must be bounded and blobs resumed, and both are
//! a few lines on blocking reads; the crate `oci-client` reads manifests of any length into memory.

mod auth;
mod blob;
mod credentials;
mod error;
mod transport;

use std::io::Read;
use std::sync::Mutex;
use std::time::Duration;

use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RANGE, RETRY_AFTER};
use reqwest::{StatusCode, Url};

use crate::digest::Digest;
use crate::manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, Descriptor, MAX_DOCUMENT, OCI_INDEX, OCI_MANIFEST,
};
use crate::reference::{Reference, Version};

use auth::Challenge;
use blob::BlobReader;
use credentials::Credentials;
pub use error::RegistryError;
use transport::{client, is_loopback, is_safe, is_transient};

/// Names that stand for another host in requests.
const DOCKER_IO: (&str, &str) = ("docker.io", "registry-1.docker.io");
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
