use super::*;

const BLOCK: u64 = BLOCK_SIZE;

#[test]
fn a_file_without_data_is_one_hole() {
    for size in [1, BLOCK, BLOCK + 1, 1 << 30, 1 << 43] {
        let cut = cut(size, &[]);
        assert_eq!((cut.runs.len(), cut.stored_blocks), (0, 0));
        assert_eq!(chunk_count(size, cut.chunk_bits), 1, "{size}");
    }
}

#[test]
fn scattered_blocks_get_small_chunks() {
    let extents: Vec<_> = (0..100).map(|nth| (nth * 10 * BLOCK, BLOCK)).collect();
    let cut = cut(1000 * BLOCK, &extents);
    assert_eq!(
        (cut.chunk_bits, cut.stored_blocks, cut.runs.len()),
        (0, 100, 100)
    );
}

#[test]
fn large_aligned_extents_get_large_chunks() {
    let cut = cut(64 << 20, &[(8 << 20, 8 << 20), (32 << 20, 32 << 20)]);
    assert_eq!(BLOCK << cut.chunk_bits, 8 << 20);
    assert_eq!(cut.runs, [(1, 2), (4, 8)]);
    assert_eq!(cut.stored_blocks, 40 << 8);
}

#[test]
fn chunks_grow_until_they_are_few_enough() {
    let size = 1 << 40;
    let cut = cut(size, &[(0, 1), (size / 2, 1)]);
    assert_eq!(chunk_count(size, cut.chunk_bits), MAX_CHUNKS);
}

#[test]
fn the_last_chunk_ends_with_the_file() {
    let cut = cut(100 * BLOCK + 1, &[(90 * BLOCK, 10 * BLOCK + 1)]);
    assert_eq!(cut.stored_blocks, 11 + (90 % (1 << cut.chunk_bits)));
}
