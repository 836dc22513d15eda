use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::AsFd;

use vm_memory::{Bytes, GuestAddress};

use cenote_virtio::memory::Span;

use super::{Error, Memory};
use crate::mapping::HUGE_PAGE;
use crate::spec::{PmemFile, PmemSpec};

const MIB: u64 = 1 << 20;
const LIMIT: u64 = 1 << 40;

/// A file of `huge_pages` times 2 MiB, each filled with its number, from `first` on.
fn file(huge_pages: u64, first: u8) -> PmemFile {
    let mut file = tempfile::tempfile().unwrap();
    for number in first..first + huge_pages as u8 {
        file.write_all(&vec![number; HUGE_PAGE as usize]).unwrap();
    }
    PmemFile {
        file,
        name: format!("image {first}"),
    }
}

fn read_only(files: Vec<PmemFile>) -> PmemSpec {
    PmemSpec {
        files,
        writable: false,
    }
}

/// What a device reads when the guest names `address` as the source of a write.
fn device_reads(memory: &Memory, address: u64, length: u32) -> Result<Vec<u8>, String> {
    let spans = [Span {
        addr: address,
        len: length,
    }];
    let memory = memory.for_devices();
    let data = memory
        .data(&spans, 0, length.into(), false)
        .map_err(|error| error.to_string())?;
    let mut target: File = tempfile::tempfile().unwrap();
    let written = data
        .write_at(target.as_fd(), 0, rustix::io::ReadWriteFlags::empty())
        .map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    target.rewind().unwrap();
    target.read_to_end(&mut bytes).unwrap();
    assert_eq!(written, bytes.len());
    Ok(bytes)
}

#[test]
fn files_lie_back_to_back_behind_four_gib() {
    let pmem = vec![
        read_only(vec![file(1, 1), file(2, 2)]),
        read_only(vec![file(1, 4)]),
    ];
    let memory = Memory::new(64 * MIB, pmem, 3, LIMIT).unwrap();
    let places: Vec<_> = memory
        .pmem()
        .iter()
        .map(|pmem| (pmem.address, pmem.size()))
        .collect();
    let start = 4096 * MIB;
    assert_eq!(
        places,
        [(start, 3 * HUGE_PAGE), (start + 3 * HUGE_PAGE, HUGE_PAGE)]
    );
    for number in 0..4 {
        let at = start + number * HUGE_PAGE;
        assert_eq!(device_reads(&memory, at, 4).unwrap(), [number as u8 + 1; 4]);
    }
}

#[test]
fn host_addresses_are_congruent_with_guest_addresses() {
    let memory = Memory::new(5 << 30, vec![read_only(vec![file(1, 1)])], 1, LIMIT).unwrap();
    for (address, mapping) in &memory.ram {
        let host = mapping.start().as_ptr() as u64;
        assert_eq!(host % HUGE_PAGE, address % HUGE_PAGE);
    }
    let pmem = &memory.pmem()[0];
    assert_eq!(pmem.address, 6 << 30);
    assert_eq!(pmem.mapping.start().as_ptr() as u64 % HUGE_PAGE, 0);
}

#[test]
fn ram_does_not_reach_files() {
    let memory = Memory::new(64 * MIB, vec![read_only(vec![file(1, 1)])], 1, LIMIT).unwrap();
    let address = GuestAddress(memory.pmem()[0].address);
    assert!(memory.ram().read_obj::<u8>(address).is_err());
    assert!(memory.ram().write_obj(1u8, GuestAddress(0x1000)).is_ok());
}

#[test]
fn a_file_that_became_shorter_reads_as_zeros_once_that_is_noticed() {
    let image = file(2, 1);
    let handle = image.file.try_clone().unwrap();
    let memory = Memory::new(64 * MIB, vec![read_only(vec![image])], 1, LIMIT).unwrap();
    let start = memory.pmem()[0].address;
    let last = start + 2 * HUGE_PAGE - 4096;
    assert!(!memory.cover_shortened_files(), "nothing is short yet");
    handle.set_len(HUGE_PAGE + 10).unwrap();
    assert!(device_reads(&memory, last, 8).is_err());
    assert!(memory.cover_shortened_files());
    assert_eq!(device_reads(&memory, last, 8).unwrap(), [0; 8]);
    assert_eq!(device_reads(&memory, start, 1).unwrap(), [1]);
    assert!(!memory.cover_shortened_files(), "it is covered already");
    handle.set_len(0).unwrap();
    assert!(memory.cover_shortened_files());
    assert_eq!(device_reads(&memory, start, 8).unwrap(), [0; 8]);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let odd = file(1, 1);
    odd.file.set_len(HUGE_PAGE + 1).unwrap();
    let refused = |pmem, limit| match Memory::new(64 * MIB, pmem, 1, limit) {
        Ok(_) => panic!("accepted"),
        Err(error) => error,
    };
    assert!(matches!(
        refused(vec![read_only(vec![odd])], LIMIT),
        Error::Length { name, length } if name == "image 1" && length == HUGE_PAGE + 1
    ));
    assert!(matches!(
        refused(vec![read_only(Vec::new())], LIMIT),
        Error::Empty
    ));
    let limit = 4096 * MIB + HUGE_PAGE;
    assert!(matches!(
        refused(vec![read_only(vec![file(2, 1)])], limit),
        Error::Address { end, .. } if end == limit + HUGE_PAGE
    ));
    assert!(matches!(
        Memory::new(MIB, Vec::new(), 1, LIMIT),
        Err(Error::Size { .. })
    ));
}
