//! COPY_FILE_RANGE, in both forms.

use rustix::io::Errno;

use super::{Caller, Passthrough};
use crate::host_time;
use crate::wire::CopyFileRangeIn;

/// The most that one request copies: the result of the older form has 32 bits, and the thread should not be away for long.
const COPY_LIMIT: u64 = 1 << 30;

impl Passthrough {
    /// Copies within the host, sharing the blocks where the file system can.
    pub(crate) fn copy_file_range(
        &self,
        caller: &mut Caller<'_>,
        arguments: &CopyFileRangeIn,
    ) -> Result<u64, Errno> {
        if arguments.flags != 0 {
            return Err(Errno::INVAL);
        }
        let from = self.files.get(arguments.fh_in)?;
        let to = self.files.get(arguments.fh_out)?;
        caller.worker.keep_bits(caller.header.uid == 0)?;
        self.drop_mapped_capability(&to.file)?;
        let (mut off_in, mut off_out) = (arguments.off_in, arguments.off_out);
        let len = arguments.len.min(COPY_LIMIT) as usize;
        let copied = host_time::call(|| {
            rustix::fs::copy_file_range(
                &from.file,
                Some(&mut off_in),
                &to.file,
                Some(&mut off_out),
                len,
            )
        })?;
        to.node.written(off_out);
        Ok(copied as u64)
    }
}
