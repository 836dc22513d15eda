use proptest::collection::btree_set;
use proptest::prelude::*;

use super::*;

fn entries(names: &[Vec<u8>]) -> Vec<Entry<'_>> {
    names
        .iter()
        .enumerate()
        .map(|(nth, name)| Entry {
            name,
            nid: nth as u64 * 7,
            file_type: 1,
        })
        .collect()
}

fn decode(bytes: &[u8]) -> Vec<Entry<'_>> {
    bytes
        .chunks(BLOCK_SIZE as usize)
        .flat_map(|block| decode_block(block).unwrap())
        .collect()
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(names in btree_set(prop::collection::vec(1..=255u8, 1..=255), 1..200)) {
        let names: Vec<Vec<u8>> = names.into_iter().collect();
        let entries = entries(&names);
        let mut bytes = Vec::new();
        encode(&entries, &mut bytes);
        prop_assert_eq!(decode(&bytes), entries);
        let slices: Vec<&[u8]> = names.iter().map(|name| &name[..]).collect();
        prop_assert_eq!(size(&slices), bytes.len() as u64);
    }

    #[test]
    fn no_block_makes_the_decoder_panic(block in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = decode_block(&block);
    }
}

#[test]
fn a_full_block_is_followed_by_another() {
    // 4096 = 16 * (12 + 244); a 17th name starts a block.
    let names: Vec<Vec<u8>> = (0..17u8).map(|nth| vec![b'a' + nth; 244]).collect();
    let slices: Vec<&[u8]> = names.iter().map(|name| &name[..]).collect();
    assert_eq!(size(&slices[..16]), 4096);
    assert_eq!(size(&slices), 4096 + 256);
}
