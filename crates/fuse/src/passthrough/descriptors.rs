//! How many descriptors there are to share out.

use rustix::process::Resource;

/// How many descriptors the process may have, after asking for as many as it can get.
pub fn allowed() -> usize {
    let mut limit = rustix::process::getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        limit.current = limit.maximum;
        if let Err(error) = rustix::process::setrlimit(Resource::Nofile, limit) {
            tracing::debug!(%error, "the process keeps its limit of descriptors");
            limit = rustix::process::getrlimit(Resource::Nofile);
        }
    }
    limit
        .current
        .and_then(|limit| limit.try_into().ok())
        .unwrap_or(usize::MAX)
}
