//! Images: made, loaded, imported, pulled, looked at and removed; and the tree that a container sees.

mod registry;

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::fixture::{Host, prepared};
use registry::Registry;

/// Runs one of the programs that judge us.
fn tool(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output();
    let output = output
        .unwrap_or_else(|error| panic!("{program}: {error}: run `make test`, which installs it"));
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// The prepared image of several layers, some compressed by gzip and some by zstd.
fn layers() -> PathBuf {
    layout("layers.oci")
}

fn layout(name: &str) -> PathBuf {
    let folder = prepared().join(name);
    assert!(
        folder.is_dir(),
        "{} is missing: run `make test`, which prepares it",
        folder.display()
    );
    folder
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn listing_inspecting_and_removing() {
    let host = Host::new();
    let images = host.run(&["images", "--format", "json"]).succeeds().json();
    assert_eq!(images[0]["name"], "localhost/busybox:latest");
    let id = images[0]["id"].as_str().unwrap();
    let table = host.run(&["image", "ls"]).succeeds().stdout();
    assert!(
        table.starts_with("NAME ") && table.contains("localhost/busybox:latest"),
        "{table}"
    );
    let details = host.run(&["image", "inspect", "busybox"]).succeeds().json();
    assert_eq!(
        (
            details[0]["id"].as_str(),
            details[0]["config"]["os"].as_str()
        ),
        (Some(id), Some("linux"))
    );

    host.run(&["create", "--name", "user", "busybox"])
        .succeeds();
    host.run(&["rmi", "busybox"])
        .fails_with(&["user", "cenote rm user", "--force"]);
    host.run(&["rm", "user"]).succeeds();
    host.run(&["rmi", "busybox"])
        .succeeds()
        .prints(&format!("untagged localhost/busybox:latest\ndeleted {id}"));
    assert_eq!(host.run(&["images", "-q"]).succeeds().stdout(), "");
    host.run(&["run", "--rm", "busybox", "true"])
        .fails_with(&["cenote image build-base busybox"]);
}

#[test]
fn what_runs_is_kept() {
    let host = Host::new();
    let (one, two) = (host.detached(&[]), host.detached(&[]));
    host.run(&["rmi", "-f", "busybox"]).succeeds();
    host.run(&["image", "prune"]).succeeds();
    // Programs that were not read before still come out of the image's files.
    for name in [&one, &two] {
        host.run(&[
            "exec",
            name,
            "sh",
            "-c",
            "echo abc | sha256sum | cut -c 1-8",
        ])
        .succeeds()
        .prints("edeaaff3");
    }
    host.run(&["rm", "-f", &one, &two]).succeeds();
    host.run(&["image", "prune"]).succeeds();
    let layers = std::fs::read_dir(host.data().join("images/layers")).unwrap();
    assert_eq!(
        layers.count(),
        0,
        "layers that nobody needs are still there"
    );
}

#[test]
fn a_debian_system() {
    let host = Host::empty();
    let archive = prepared().join("debian.tar");
    assert!(
        archive.is_file(),
        "{} is missing: run `make test`, which prepares it",
        archive.display()
    );
    host.run(&["import", text(&archive), "debian"]).succeeds();
    host.run(&[
        "run", "-d", "-q", "--name", "debian", "debian", "sleep", "100000",
    ])
    .succeeds();
    let exec = |arguments: &[&str]| {
        host.run(&[&["exec", "debian"], arguments].concat())
            .succeeds()
            .stdout()
    };
    assert!(exec(&["apt", "--version"]).starts_with("apt 2."));
    let packages = exec(&["dpkg", "-l"]);
    assert!(
        packages
            .lines()
            .filter(|line| line.starts_with("ii"))
            .count()
            > 50,
        "{packages}"
    );
    assert_eq!(
        exec(&["perl", "-e", "print join(',', map { $_ * $_ } 1..5)"]),
        "1,4,9,16,25"
    );
    let script = "#!/bin/bash\nset -e\nfor name in a b; do echo \"$name: $(id -un)\"; done\n";
    host.cenote(&[
        "exec",
        "-i",
        "debian",
        "sh",
        "-c",
        "cat > /root/script; chmod +x /root/script",
    ])
    .input(script)
    .run()
    .succeeds();
    assert_eq!(exec(&["/root/script"]), "a: root\nb: root");
}

#[test]
fn a_tree_of_many_layers_is_what_umoci_makes_of_it() {
    let host = Host::empty();
    let source = format!("oci:{}", text(&layers()));
    // Straight from its folder, without a name.
    host.run(&[
        "run", "-d", "-q", "--name", "layers", &source, "sleep", "100000",
    ])
    .succeeds();
    host.run(&["exec", "layers", "sh", "-c", "echo $LAYERS $PWD"])
        .succeeds()
        .prints("4 /data");
    let lister = std::fs::read(prepared().join("tree")).unwrap();
    let take = [
        "exec",
        "-i",
        "--vm",
        "layers",
        "sh",
        "-c",
        "cat > /tmp/tree; chmod +x /tmp/tree",
    ];
    host.cenote(&take).input(lister).run().succeeds();
    // The image by itself, below anything that the container could write.
    let script = "mkdir -p /tmp/image; options=dax=always
        for device in /dev/pmem[1-9]*; do options=$options,device=$device; done
        mount -t erofs -o ro,$options /dev/pmem0 /tmp/image && /tmp/tree /tmp/image";
    let list = ["exec", "--vm", "layers", "sh", "-c", script];
    let tree = host.run(&list).succeeds().stdout();
    let expected = std::fs::read_to_string(prepared().join("layers.tree")).unwrap();
    let differing = tree
        .lines()
        .zip(expected.lines())
        .find(|(ours, theirs)| ours.trim_end() != theirs.trim_end());
    assert_eq!(differing, None, "first difference (ours, umoci's)");
    assert_eq!(tree.lines().count(), expected.lines().count());
}

#[test]
fn every_kind_of_archive_gives_the_same_image() {
    let host = Host::empty();
    // docker knows no zstd.
    let from = format!("oci:{}:latest", text(&layout("gzip.oci")));
    let (oci, docker) = (
        host.scratch().join("oci.tar"),
        host.scratch().join("docker.tar"),
    );
    let archives = [
        (&oci, format!("oci-archive:{}:kept:1", text(&oci))),
        (&docker, format!("docker-archive:{}:kept:1", text(&docker))),
    ];
    for (_, to) in &archives {
        tool(
            "skopeo",
            &["--insecure-policy", "copy", "--quiet", &from, to],
        );
    }
    let id = host
        .run(&["pull", "-q", &format!("oci:{}", text(&layers()))])
        .succeeds()
        .stdout();
    for (path, to) in &archives {
        let (kind, _) = to.split_once(':').unwrap();
        let direct = host
            .run(&["pull", "-q", &format!("{kind}:{}", text(path))])
            .succeeds()
            .stdout();
        host.run(&["load", "-q", "-i", text(path)]).succeeds();
        let piped = host
            .cenote(&["load", "-q"])
            .input(std::fs::read(path).unwrap())
            .run()
            .succeeds();
        assert!(piped.stdout().starts_with("loaded "), "{}", piped.all());
        // skopeo rewrites the configuration of a docker archive, so only an OCI one keeps the id.
        if kind == "oci-archive" {
            assert_eq!(direct, id);
        }
    }
    let plain = host.run(&["load", text(&layers())]).succeeds();
    assert!(plain.stdout().starts_with("loaded "), "{}", plain.all());
}

#[test]
fn pulling_from_a_registry_by_tag_and_by_digest() {
    let host = Host::empty();
    let registry = Registry::start(host.scratch());
    let name = registry.push_two_platforms(&layers());
    let id = host.run(&["pull", "-q", &name]).succeeds().stdout();
    let config = host.run(&["image", "inspect", &name]).succeeds().json();
    assert_eq!(config[0]["config"]["architecture"], "amd64");
    let digest = registry.digest_of("index");
    let pinned = format!("{}@{digest}", name.rsplit_once(':').unwrap().0);
    host.run(&["pull", "-q", &pinned]).succeeds().prints(&id);
    let lines = host.run(&["pull", &name]).succeeds().stderr();
    assert!(
        lines
            .lines()
            .all(|line| line.starts_with("cenote: ") && !line.contains('\r')),
        "{lines}"
    );
    host.run(&[
        "run",
        "--rm",
        "-q",
        "--pull",
        "always",
        &name,
        "sh",
        "-c",
        "cat keep/file",
    ])
    .succeeds()
    .prints("kept");

    let absent = name.replace("index", "absent");
    host.run(&["pull", "-q", &absent]).fails_with(&["absent"]);
    host.run(&["run", "-q", &absent]).fails_with(&["absent"]);
}
