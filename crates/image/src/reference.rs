//! Image references: `[registry/]repository[:tag][@digest]`, in the grammar of the distribution project.
//!
//! A name without a registry means `docker.io`, and there a name of one part means `library/<name>`, as in the tools that
//! users come from. The store looks at `localhost/<name>` before that: see [`Reference::candidates`].

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::digest::{Digest, DigestError};

/// A complete image reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Reference {
    registry: String,
    repository: String,
    version: Version,
}

/// What selects one image in a repository.
///
/// A reference with both a tag and a digest is selected by its digest; the tag is dropped, as it decides nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// A name that its registry may move.
    Tag(String),
    /// The digest of a manifest or an index.
    Digest(Digest),
}

/// Why a text is not a [`Reference`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing is left where the repository should be.
    #[error("`{0}` names no repository; write [registry/]repository[:tag]")]
    NoRepository(String),
    /// A part of the repository holds a character outside of `a-z0-9` with single separators in between.
    #[error(
        "`{part}` in reference `{text}` is not a repository name: use a-z, 0-9 and single `.`, `-`, `_`, `__` in between"
    )]
    Repository {
        /// The part of the path that is wrong.
        part: String,
        /// The whole reference.
        text: String,
    },
    /// The registry is not a host with an optional port.
    #[error("`{registry}` in reference `{text}` is not a host name with an optional port")]
    Registry {
        /// What stands in place of the registry.
        registry: String,
        /// The whole reference.
        text: String,
    },
    /// The tag is empty, longer than 128 characters, or has a character outside of `A-Za-z0-9_.-`.
    #[error(
        "`{tag}` in reference `{text}` is not a tag: 1 to 128 of A-Z, a-z, 0-9, `_`, `.`, `-`, not beginning with `.` or `-`"
    )]
    Tag {
        /// What stands in place of the tag.
        tag: String,
        /// The whole reference.
        text: String,
    },
    /// What follows `@` is not a digest.
    #[error("reference `{text}`: {source}")]
    Digest {
        /// The whole reference.
        text: String,
        /// What is wrong with the digest.
        source: DigestError,
    },
    /// The reference is longer than any registry accepts.
    #[error("a reference of {0} characters is longer than {MAX_LENGTH}")]
    TooLong(usize),
}

/// The registry of a name that has none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The namespace of a name of one part on [`DEFAULT_REGISTRY`].
const DEFAULT_NAMESPACE: &str = "library";
/// The registry of images that were made on this machine.
pub(crate) const LOCAL_REGISTRY: &str = "localhost";
const DEFAULT_TAG: &str = "latest";
/// The distribution grammar's limit for a tag.
const MAX_TAG: usize = 128;
/// 255 for the repository (the distribution grammar's limit), as much for the registry, and tag and digest.
const MAX_LENGTH: usize = 255 + 255 + MAX_TAG + 80;

impl Reference {
    /// The reference `localhost/<repository>:latest` of an image made here.
    pub fn local(repository: &str) -> Result<Reference, ReferenceError> {
        format!("{LOCAL_REGISTRY}/{repository}").parse()
    }

    /// The registry: a host with an optional port.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The repository's path in the registry.
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// What selects the image in the repository.
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// The same repository with a digest in place of the tag.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference {
            version: Version::Digest(digest),
            ..self.clone()
        }
    }

    /// What `text` may mean, most likely first: a name without a registry is looked for among local images first.
    pub fn candidates(text: &str) -> Result<Vec<Reference>, ReferenceError> {
        let full = text.parse::<Reference>()?;
        if split_registry(text).0.is_some() {
            return Ok(vec![full]);
        }
        let local = format!("{LOCAL_REGISTRY}/{text}").parse()?;
        Ok(vec![local, full])
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Reference, ReferenceError> {
        if text.len() > MAX_LENGTH {
            return Err(ReferenceError::TooLong(text.len()));
        }
        let (registry, rest) = split_registry(text);
        let registry = match registry {
            Some("index.docker.io") | None => DEFAULT_REGISTRY,
            Some(registry) => registry,
        };
        if !is_registry(registry) {
            return Err(ReferenceError::Registry {
                registry: registry.to_owned(),
                text: text.to_owned(),
            });
        }
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(digest, text)?)),
            None => (rest, None),
        };
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, checked_tag(tag, text)?),
            None => (rest, DEFAULT_TAG),
        };
        Ok(Reference {
            registry: registry.to_owned(),
            repository: checked_repository(registry, path, text)?,
            version: match digest {
                Some(digest) => Version::Digest(digest),
                None => Version::Tag(tag.to_owned()),
            },
        })
    }
}

/// Splits the registry off if the first part looks like a host: it has a dot, a port or a capital letter, or is `localhost`.
fn split_registry(text: &str) -> (Option<&str>, &str) {
    match text.split_once('/') {
        Some((first, rest))
            if first.contains(['.', ':'])
                || first == LOCAL_REGISTRY
                || first.contains(|letter: char| letter.is_ascii_uppercase()) =>
        {
            (Some(first), rest)
        }
        _ => (None, text),
    }
}

fn is_registry(registry: &str) -> bool {
    let (host, port) = match registry.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((address, "")) => return address.parse::<std::net::Ipv6Addr>().is_ok(),
        Some((address, rest)) => {
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match rest.strip_prefix(':') {
                Some(port) => return port.parse::<u16>().is_ok(),
                None => return false,
            }
        }
        None => match registry.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (registry, None),
        },
    };
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    host.split('.').all(is_label)
        && port.is_none_or(|port| {
            port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
        })
}

fn parse_digest(digest: &str, text: &str) -> Result<Digest, ReferenceError> {
    digest.parse().map_err(|source| ReferenceError::Digest {
        text: text.to_owned(),
        source,
    })
}

fn checked_tag<'a>(tag: &'a str, text: &str) -> Result<&'a str, ReferenceError> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let good = (1..=MAX_TAG).contains(&tag.len())
        && is_word(tag.as_bytes()[0])
        && tag
            .bytes()
            .all(|byte| is_word(byte) || byte == b'.' || byte == b'-');
    match good {
        true => Ok(tag),
        false => Err(ReferenceError::Tag {
            tag: tag.to_owned(),
            text: text.to_owned(),
        }),
    }
}

fn checked_repository(registry: &str, path: &str, text: &str) -> Result<String, ReferenceError> {
    if path.is_empty() {
        return Err(ReferenceError::NoRepository(text.to_owned()));
    }
    if let Some(part) = path.split('/').find(|part| !is_repository_part(part)) {
        return Err(ReferenceError::Repository {
            part: part.to_owned(),
            text: text.to_owned(),
        });
    }
    Ok(match registry == DEFAULT_REGISTRY && !path.contains('/') {
        true => format!("{DEFAULT_NAMESPACE}/{path}"),
        false => path.to_owned(),
    })
}

/// Runs of `a-z0-9` joined by one `.`, one or two `_`, or any number of `-`.
fn is_repository_part(part: &str) -> bool {
    let is_word = |byte: char| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends_in_words = part.starts_with(is_word) && part.ends_with(is_word);
    ends_in_words
        && part.split(is_word).all(|separator| {
            matches!(separator, "" | "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')
        })
}

impl TryFrom<String> for Reference {
    type Error = ReferenceError;

    fn try_from(text: String) -> Result<Reference, ReferenceError> {
        text.parse()
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> String {
        reference.to_string()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.registry, self.repository)?;
        match &self.version {
            Version::Tag(tag) => write!(out, ":{tag}"),
            Version::Digest(digest) => write!(out, "@{digest}"),
        }
    }
}

#[cfg(test)]
#[path = "reference_test.rs"]
mod tests;
