use std::path::Path;

use super::{Unmet, merge, unmet};
use crate::build::inputs::PATCHES;
use crate::build::{Architecture, File};

const FRAGMENTS: [File; 2] = [
    File {
        name: "config/common/a.config",
        text: "# Why.\nCONFIG_A=y\nCONFIG_HZ=100\nCONFIG_TEXT=\"a=b\"\nCONFIG_C=n\n",
    },
    File {
        name: "config/x86_64/b.config",
        text: "# Why.\nCONFIG_HZ=250\n",
    },
];

#[test]
fn a_configuration_that_holds_all_is_taken() {
    let config =
        "CONFIG_A=y\nCONFIG_HZ=250\nCONFIG_TEXT=\"a=b\"\n# CONFIG_C is not set\nCONFIG_MORE=y\n";
    assert_eq!(unmet(&FRAGMENTS, config), []);
}

#[test]
fn each_symbol_that_was_dropped_or_changed_is_named_with_its_fragment() {
    let config = "# CONFIG_A is not set\nCONFIG_HZ=100\nCONFIG_TEXT=\"a=b\"\nCONFIG_C=y\n";
    let unmet = unmet(&FRAGMENTS, config);
    let texts: Vec<String> = unmet.iter().map(Unmet::to_string).collect();
    assert_eq!(
        texts,
        [
            "CONFIG_A=y in config/common/a.config became n",
            "CONFIG_C=n in config/common/a.config became y",
            "CONFIG_HZ=250 in config/x86_64/b.config became 100",
        ]
    );
}

#[test]
fn a_fragment_without_an_end_of_line_does_not_swallow_the_next() {
    let first = File {
        name: "a",
        text: "CONFIG_A=y",
    };
    let merged = merge(&[first, FRAGMENTS[1]]);
    assert!(merged.lines().any(|line| line == "CONFIG_A=y"), "{merged}");
    assert!(merged.lines().any(|line| line == "CONFIG_HZ=250"));
}

/// Every group of every fragment has its reason above it, and says nothing but assignments.
#[test]
fn fragments_are_reasons_and_assignments() {
    for architecture in [Architecture::X86_64, Architecture::Aarch64] {
        for File { name, text } in architecture.fragments() {
            assert!(
                text.starts_with("# "),
                "{name} does not begin with a reason"
            );
            for line in text.lines() {
                let reason = line.starts_with("# ") && !line.contains("CONFIG_");
                let assignment = line.starts_with("CONFIG_") && line.contains('=');
                assert!(reason || assignment, "{name}: {line:?}");
                assert!(
                    !line.ends_with("=m"),
                    "{name}: {line}: there are no modules"
                );
            }
        }
    }
}

/// Asks a real source, for each architecture.
#[test]
#[ignore = "wants CENOTE_LINUX_SOURCE, a folder with an unpacked Linux source, and gcc-aarch64-linux-gnu"]
fn a_real_source_takes_the_fragments() {
    let source = std::env::var_os("CENOTE_LINUX_SOURCE").expect("CENOTE_LINUX_SOURCE is not set");
    for (architecture, cross) in [
        (Architecture::X86_64, ""),
        (Architecture::Aarch64, "aarch64-linux-gnu-"),
    ] {
        let objects = tempfile::tempdir().unwrap();
        let fragments = architecture.fragments();
        let wanted = objects.path().join("wanted");
        std::fs::write(&wanted, merge(&fragments)).unwrap();
        let output = std::process::Command::new("make")
            .arg("-C")
            .arg(&source)
            .arg(format!("O={}", objects.path().display()))
            .arg(format!("ARCH={}", architecture.linux()))
            .arg(format!("CROSS_COMPILE={cross}"))
            .arg(crate::build::recipe::CONFIGURE)
            .env("KCONFIG_ALLCONFIG", &wanted)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        let config = std::fs::read_to_string(objects.path().join(".config")).unwrap();
        assert_eq!(unmet(&fragments, &config), [], "{architecture:?}");
    }
}

#[test]
#[ignore = "wants CENOTE_LINUX_SOURCE, a folder with an unpacked Linux source"]
fn a_real_source_takes_the_patches() {
    let source = std::env::var_os("CENOTE_LINUX_SOURCE").expect("CENOTE_LINUX_SOURCE is not set");
    for File { name, .. } in PATCHES {
        let patch = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../kernel")
            .join(name);
        let output = std::process::Command::new("patch")
            .args([
                "--strip=1",
                "--batch",
                "--forward",
                "--dry-run",
                "--directory",
            ])
            .arg(&source)
            .arg("--input")
            .arg(patch)
            .output()
            .unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
    }
}
