//! Why a registry did not give what was asked for.

use reqwest::StatusCode;

use crate::manifest::MAX_DOCUMENT;

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
