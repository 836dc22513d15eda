//! The seeds of the fuzz targets, played without a fuzzer.

use std::fs;
use std::path::Path;

/// Plays all seeds of a target of `fuzz/fuzz_targets`, of this crate or of one above it.
///
/// # Panics
/// When it has none, or a play panics; the last seed that is named is the one.
pub fn replay(target: &str, play: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../fuzz/seeds")
        .join(target);
    let seeds: Vec<_> = fs::read_dir(&folder)
        .expect("the folder of seeds")
        .map(|seed| seed.unwrap().path())
        .collect();
    assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
    for seed in seeds {
        println!("{}", seed.display());
        play(&fs::read(seed).unwrap());
    }
}
