//! Which extended attributes a client sees, and under which names they are kept.

use std::borrow::Cow;
use std::ffi::{CStr, CString};

use rustix::io::Errno;

/// Rules, of which the first that fits a name decides; a name that none fits is left as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XattrMap(Vec<Rule>);

/// What happens to names with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rule {
    /// Names with this prefix do not exist, and cannot be set.
    Hide(String),
    /// Names that have the first prefix for the client have the second one in front of it on the host.
    Prefix {
        /// Of the client's names.
        client: String,
        /// Put in front of them on the host.
        host: String,
    },
}

impl Default for XattrMap {
    /// Attributes that need CAP_SYS_ADMIN on the host (`trusted.`) are hidden: an overlay file system of the host would
    /// obey some of them, and the server has not that capability.
    fn default() -> XattrMap {
        XattrMap(vec![Rule::Hide("trusted.".to_owned())])
    }
}

impl XattrMap {
    /// A map of these rules.
    pub fn new(rules: Vec<Rule>) -> XattrMap {
        XattrMap(rules)
    }

    /// Hides names with this prefix, whatever other rules say.
    pub fn hide(&mut self, prefix: &str) {
        self.0.insert(0, Rule::Hide(prefix.to_owned()));
    }

    /// The host's name for what the client calls `name`; `None` if there is no such attribute.
    pub fn to_host<'a>(&self, name: &'a CStr) -> Result<Option<Cow<'a, CStr>>, Errno> {
        let bytes = name.to_bytes();
        for rule in &self.0 {
            match rule {
                Rule::Hide(prefix) if bytes.starts_with(prefix.as_bytes()) => return Ok(None),
                Rule::Prefix { client, host } if bytes.starts_with(client.as_bytes()) => {
                    let mut longer = host.clone().into_bytes();
                    longer.extend(bytes);
                    let longer = CString::new(longer).map_err(|_| Errno::INVAL)?;
                    return Ok(Some(Cow::Owned(longer)));
                }
                // What has the host's prefix already would be taken for something mapped.
                Rule::Prefix { host, .. } if bytes.starts_with(host.as_bytes()) => return Ok(None),
                _ => {}
            }
        }
        Ok(Some(Cow::Borrowed(name)))
    }

    /// The client's name for what the host calls `name`; `None` if the client does not see it.
    pub fn to_client<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        for rule in &self.0 {
            match rule {
                Rule::Hide(prefix) if name.starts_with(prefix.as_bytes()) => return None,
                Rule::Prefix { client, host } => {
                    if let Some(inner) = name.strip_prefix(host.as_bytes())
                        && inner.starts_with(client.as_bytes())
                    {
                        return Some(inner);
                    }
                    if name.starts_with(client.as_bytes()) {
                        return None;
                    }
                }
                _ => {}
            }
        }
        Some(name)
    }
}

#[cfg(test)]
#[path = "xattr_map_test.rs"]
mod tests;
