//! Takes a request's body apart from front to back.

use std::ffi::CStr;

use zerocopy::FromBytes;

use super::names::{BadName, Name, Target, XattrName};
use super::request::BadRequest;

/// What of the body is left.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(body: &'a [u8]) -> Reader<'a> {
        Reader { rest: body }
    }

    /// The next arguments.
    pub fn take<T: FromBytes>(&mut self) -> Result<T, BadRequest> {
        let (value, rest) = T::read_from_prefix(self.rest).map_err(|_| BadRequest::Short {
            want: size_of::<T>(),
            have: self.rest.len(),
        })?;
        self.rest = rest;
        Ok(value)
    }

    /// Arguments of which older clients send only the first `short` bytes; the missing ones are zero.
    pub fn take_padded<T: FromBytes, const SIZE: usize>(
        &mut self,
        short: usize,
    ) -> Result<T, BadRequest> {
        let missing = BadRequest::Short {
            want: size_of::<T>(),
            have: self.rest.len(),
        };
        let mut padded = [0; SIZE];
        let have = self.rest.len().min(SIZE);
        if have < short {
            return Err(missing);
        }
        let (bytes, rest) = self.rest.split_at(have);
        padded[..have].copy_from_slice(bytes);
        self.rest = rest;
        T::read_from_bytes(&padded).map_err(|_| missing)
    }

    pub fn name(&mut self) -> Result<Name<'a>, BadRequest> {
        Ok(Name::new(self.string()?)?)
    }

    pub fn xattr_name(&mut self) -> Result<XattrName<'a>, BadRequest> {
        Ok(XattrName::new(self.string()?)?)
    }

    pub fn target(&mut self) -> Result<Target<'a>, BadRequest> {
        Ok(Target::new(self.string()?)?)
    }

    /// The next `len` bytes.
    pub fn bytes(&mut self, len: usize) -> Result<&'a [u8], BadRequest> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or(BadRequest::Short {
            want: len,
            have: self.rest.len(),
        })?;
        self.rest = rest;
        Ok(bytes)
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// That nothing is left.
    pub fn end(self) -> Result<(), BadRequest> {
        match self.rest.len() {
            0 => Ok(()),
            left => Err(BadRequest::Left(left)),
        }
    }

    fn string(&mut self) -> Result<&'a CStr, BadRequest> {
        let string = CStr::from_bytes_until_nul(self.rest).map_err(|_| BadName::Unended)?;
        self.rest = &self.rest[string.count_bytes() + 1..];
        Ok(string)
    }
}
