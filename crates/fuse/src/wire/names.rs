//! Names that a client may use.

use std::ffi::CStr;

use thiserror::Error;

/// A name that no server may use as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum BadName {
    #[error("the name is not ended by a zero byte")]
    Unended,
    #[error("the name is empty")]
    Empty,
    #[error("the name has {0} bytes, more than any file system takes")]
    Long(usize),
    #[error("the name has a slash; a request names one directory entry")]
    Slash,
    #[error("the name is \".\" or \"..\", which would leave the directory")]
    Dots,
}

/// Length in bytes of the longest name that a client sends (`FUSE_NAME_LOW_MAX`); file systems have limits of their own.
const NAME_LIMIT: usize = 1024;
/// `XATTR_NAME_MAX`
const XATTR_NAME_LIMIT: usize = 255;
/// `PATH_MAX` without the zero byte.
const TARGET_LIMIT: usize = 4095;

/// The name of one directory entry: no slash, neither `.` nor `..`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a>(&'a CStr);

impl<'a> Name<'a> {
    /// Checks `name`.
    pub fn new(name: &'a CStr) -> Result<Name<'a>, BadName> {
        let bytes = bounded(name, NAME_LIMIT)?.to_bytes();
        if bytes == b"." || bytes == b".." {
            return Err(BadName::Dots);
        }
        if bytes.contains(&b'/') {
            return Err(BadName::Slash);
        }
        Ok(Name(name))
    }

    /// The name, for system calls.
    pub fn as_c_str(self) -> &'a CStr {
        self.0
    }
}

/// The name of an extended attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XattrName<'a>(&'a CStr);

impl<'a> XattrName<'a> {
    /// Checks `name`.
    pub fn new(name: &'a CStr) -> Result<XattrName<'a>, BadName> {
        bounded(name, XATTR_NAME_LIMIT).map(XattrName)
    }

    /// The name, for system calls.
    pub fn as_c_str(self) -> &'a CStr {
        self.0
    }
}

/// What a symbolic link points at; only the client ever follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target<'a>(&'a CStr);

impl<'a> Target<'a> {
    /// Checks `target`.
    pub fn new(target: &'a CStr) -> Result<Target<'a>, BadName> {
        bounded(target, TARGET_LIMIT).map(Target)
    }

    /// The target, for system calls.
    pub fn as_c_str(self) -> &'a CStr {
        self.0
    }
}

fn bounded(name: &CStr, limit: usize) -> Result<&CStr, BadName> {
    match name.count_bytes() {
        0 => Err(BadName::Empty),
        bytes if bytes > limit => Err(BadName::Long(bytes)),
        _ => Ok(name),
    }
}
