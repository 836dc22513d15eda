use std::io;
use std::os::unix::fs::FileExt;

use super::*;

fn area() -> (DataArea, File) {
    let file = tempfile::tempfile().unwrap();
    (DataArea::new(file.try_clone().unwrap(), 1).unwrap(), file)
}

#[test]
fn big_files_start_on_huge_pages_and_small_ones_fill_the_rest() {
    let (mut area, _) = area();
    assert_eq!(area.allocate(1).unwrap(), 1);
    assert_eq!(area.allocate(512).unwrap(), 512);
    assert_eq!(area.allocate(513).unwrap(), 1024);
    assert_eq!(area.allocate(510).unwrap(), 2);
    assert_eq!(area.allocate(511).unwrap(), 1537);
    assert_eq!(area.allocate(1).unwrap(), 2048);
    assert_eq!(area.allocate(512).unwrap(), 2560);
}

#[test]
fn metadata_follow_the_last_data() {
    let (mut area, _) = area();
    area.allocate(600).unwrap();
    let (_, end) = area.finish().unwrap();
    assert_eq!(end, 512 + 600);
    let (mut area, _) = self::area();
    area.allocate(512).unwrap();
    let (_, end) = area.finish().unwrap();
    assert_eq!(end, 1024);
}

#[test]
fn addresses_end_before_the_hole() {
    let (mut area, _) = area();
    assert_eq!(area.allocate(MAX_BLOCKS - 1024).unwrap(), 512);
    assert!(matches!(
        area.allocate(512),
        Err(WriteError::TooLarge { limit: MAX_BLOCKS })
    ));
    assert!(matches!(
        area.allocate(u64::MAX),
        Err(WriteError::TooLarge { .. })
    ));
}

#[test]
fn data_beyond_4_gib_arrive() {
    let (mut area, file) = area();
    area.allocate(5 << 18).unwrap();
    let block = area.allocate(512).unwrap();
    area.copy(b"f", u64::from(block) * BLOCK_SIZE, 3, &mut &b"far"[..])
        .unwrap();
    area.finish().unwrap();
    let mut found = [0; 4];
    file.read_exact_at(&mut found, u64::from(block) * BLOCK_SIZE)
        .unwrap();
    assert!(u64::from(block) * BLOCK_SIZE > 5 << 30);
    assert_eq!(&found, b"far\0");
}

/// Small files from a region's start to its end and a large one: no write crosses a region's end, so that each region
/// leaves in as few writes as it is filled in.
#[test]
fn a_region_that_is_filled_in_turn_leaves_in_one_write() {
    let (mut area, _) = area();
    let region = REGION as u64;
    for (offset, size) in [(region, 4096), (region + 4096, region - 4096)] {
        area.copy(b"f", offset, size, &mut io::repeat(1)).unwrap();
        // Nothing has left yet.
        assert_eq!(area.buffer_offset, region);
    }
    area.copy(b"f", 2 * region, 2 * region + 5, &mut io::repeat(2))
        .unwrap();
    assert_eq!((area.buffer_offset, area.buffer_len), (4 * region, 4096));
}

/// Unaligned extents next to each other, each as long as the buffer and more.
#[test]
fn the_buffer_is_never_exceeded() {
    let (mut area, file) = area();
    let long = REGION as u64 + 5;
    area.copy(b"f", 4096 + 200, long, &mut io::repeat(1))
        .unwrap();
    area.copy(
        b"f",
        (4096 + 200 + long).next_multiple_of(4096),
        long,
        &mut io::repeat(2),
    )
    .unwrap();
    area.finish().unwrap();
    let mut bytes = vec![0; file.metadata().unwrap().len() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    assert_eq!(bytes.iter().filter(|&&byte| byte == 1).count() as u64, long);
    assert_eq!(bytes.iter().filter(|&&byte| byte == 2).count() as u64, long);
    assert_eq!(bytes[4096 + 199..][..2], [0, 1]);
}
