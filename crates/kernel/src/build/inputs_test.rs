use super::{Architecture, File, Inputs};

fn inputs() -> Inputs {
    let (fragment, patch) = (
        File {
            name: "config/common/a.config",
            text: "CONFIG_A=y\n",
        },
        File {
            name: "patches/one.patch",
            text: "-a\n+b\n",
        },
    );
    Inputs {
        architecture: Architecture::X86_64,
        source: "linux-source-7.3=7.3.4-1~bpo13+1".to_owned(),
        compiler: "gcc 14\nld 2.44".to_owned(),
        fragments: vec![fragment],
        patches: vec![patch],
    }
}

#[test]
fn the_name_is_the_release_and_the_beginning_of_the_digest() {
    let inputs = inputs();
    let name = inputs.name();
    assert_eq!(name, format!("7.3.4-cenote-{}", &inputs.digest()[..12]));
    assert_eq!(name, super::Inputs::clone(&inputs).name(), "not stable");
    assert_eq!(inputs.digest().len(), 64);
}

#[test]
fn any_input_changes_the_name() {
    let change = |change: &dyn Fn(&mut Inputs)| {
        let mut inputs = inputs();
        change(&mut inputs);
        inputs.digest()
    };
    let mut digests = vec![
        inputs().digest(),
        change(&|inputs| inputs.architecture = Architecture::Aarch64),
        change(&|inputs| inputs.source = "linux-source-7.3=7.3.4-1~bpo13+2".to_owned()),
        change(&|inputs| inputs.compiler += "."),
        change(&|inputs| inputs.fragments[0].text = "CONFIG_A=n\n"),
        change(&|inputs| inputs.fragments[0].name = "config/common/b.config"),
        change(&|inputs| inputs.fragments.push(inputs.fragments[0])),
        change(&|inputs| inputs.patches[0].text = "-a\n+c\n"),
        change(&|inputs| inputs.patches.clear()),
        // The same files in another role are another kernel.
        change(&|inputs| {
            let patches = std::mem::take(&mut inputs.patches);
            inputs.fragments.extend(patches);
        }),
    ];
    let count = digests.len();
    digests.sort();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

#[test]
fn the_tree_depends_on_source_and_patches_alone() {
    let tree = |change: &dyn Fn(&mut Inputs)| {
        let mut inputs = inputs();
        change(&mut inputs);
        inputs.tree_digest()
    };
    let plain = tree(&|_| {});
    assert_eq!(tree(&|inputs| inputs.fragments.clear()), plain);
    assert_ne!(tree(&|inputs| inputs.patches.clear()), plain);
    assert_ne!(tree(&|inputs| inputs.source += ".1"), plain);
}

#[test]
fn every_architecture_has_fragments_of_its_own() {
    for (architecture, folder) in [
        (Architecture::X86_64, "config/x86_64/"),
        (Architecture::Aarch64, "config/aarch64/"),
    ] {
        let fragments = architecture.fragments();
        assert!(fragments.iter().any(|file| file.name.starts_with(folder)));
        assert!(
            fragments
                .iter()
                .any(|file| file.name.starts_with("config/common/"))
        );
    }
}
