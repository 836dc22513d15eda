//! CRC-32C (Castagnoli) as the EROFS superblock uses it: reflected, seeded with all ones, not inverted at the end.

const POLYNOMIAL: u32 = 0x82F6_3B78;

/// Bitwise on purpose: it runs over 3 KiB, once per image.
pub(crate) fn crc32c(data: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for &byte in data {
        crc ^= u32::from(byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (POLYNOMIAL & (crc & 1).wrapping_neg());
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    /// RFC 3720 B.4 gives the inverted values.
    #[test]
    fn agrees_with_the_iscsi_test_vectors() {
        assert_eq!(!super::crc32c(&[0; 32]), 0x8A91_36AA);
        assert_eq!(!super::crc32c(&[0xff; 32]), 0x62A8_AB43);
    }
}
