//! The path of an open descriptor.

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd};

/// A descriptor's number as a path, relative to `/proc/self/fd`, which is the working directory of a
/// [`Worker`](super::Worker).
///
/// The kernel follows it to the very file that is open, be it a symbolic link, and looks at no name.
pub struct FdPath {
    /// Ten digits are enough for any descriptor; the last byte stays zero.
    digits: [u8; 11],
    start: usize,
}

impl FdPath {
    pub fn new(file: impl AsFd) -> FdPath {
        let mut number = file.as_fd().as_raw_fd().unsigned_abs();
        let mut digits = [0; 11];
        let mut start = digits.len() - 1;
        loop {
            start -= 1;
            digits[start] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return FdPath { digits, start };
            }
        }
    }

    pub fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.digits[self.start..]).unwrap_or_default()
    }
}
