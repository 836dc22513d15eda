//! Volumes, and whom shared files belong to.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use crate::fixture::{Host, Project};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn volumes_outlive_containers() {
    let host = Host::new();
    let project = Project::new(&host);
    project
        .cenote(&["volume", "create", "-l", "tier=db", "mine"])
        .succeeds()
        .prints("mine");
    project
        .cenote(&["volume", "create", "mine"])
        .fails_with(&["volume with name mine already exists"]);
    project
        .cenote(&["volume", "create", "--ignore", "mine"])
        .succeeds();

    // A new volume has what the image has there, once.
    let script = "test -x /bin/busybox && echo filled; echo 1 > /data/row; ls /etc/passwd; rm /bin2/ls; echo x > /anonymous/x";
    let flags = [
        "-v",
        "mine:/data",
        "-v",
        "bin:/bin2",
        "-v",
        "/anonymous",
        "-v",
        "users:/etc",
    ];
    let outcome = project.run(&flags, script);
    assert!(
        outcome.stdout().starts_with("filled\n/etc/passwd"),
        "{}",
        outcome.all()
    );
    project
        .run(
            &["--read-only", "-v", "mine:/elsewhere:ro"],
            "cat /elsewhere/row",
        )
        .prints("1");
    let listed = project.cenote(&["volume", "ls", "-q"]).succeeds();
    assert_eq!(listed.stdout(), "bin\nmine\nusers");

    let details = project.cenote(&["volume", "inspect", "mine"]).json();
    let place = PathBuf::from(details[0]["mountpoint"].as_str().unwrap());
    assert_eq!(fs::read_to_string(place.join("row")).unwrap(), "1\n");
    assert_eq!(details[0]["labels"]["tier"], "db");

    // Whoever mounts one keeps it from being removed.
    project
        .cenote(&[
            "create",
            "--name",
            "user",
            "-v",
            "mine:/data",
            "-v",
            "/own",
            "busybox",
        ])
        .succeeds();
    project
        .cenote(&["volume", "rm", "mine"])
        .fails_with(&["mine is being used by user", "cenote rm user"]);
    project
        .cenote(&["volume", "prune"])
        .fails_with(&["--force"]);
    project
        .cenote(&["volume", "prune", "-f"])
        .succeeds()
        .prints("bin\nusers");
    // What a container closed to its owner goes too.
    project.run(
        &["-v", "closed:/c"],
        "mkdir -p /c/a/b; touch /c/a/b/x; chmod 0 /c/a/b /c/a",
    );
    project.cenote(&["volume", "rm", "closed"]).succeeds();
    // `volume rm` goes on behind one that fails.
    project.cenote(&["volume", "create", "spare"]).succeeds();
    let removed = project
        .cenote(&["volume", "rm", "mine", "nothing", "spare"])
        .exits(125);
    assert_eq!(removed.stdout(), "spare");
    assert!(
        removed.stderr().contains("no volume nothing"),
        "{}",
        removed.all()
    );
    // `rm` alone leaves the volume that was made for the container; `rm -v` takes it along.
    project.cenote(&["rm", "user"]).succeeds();
    let left = project.cenote(&["volume", "ls", "--format", "json"]).json();
    assert_eq!(left.as_array().unwrap().len(), 2);
    assert_eq!(
        left[0]["anonymous"].as_bool().unwrap(),
        left[1]["name"] == "mine"
    );
    project
        .cenote(&["create", "--name", "user", "-v", "/own", "busybox"])
        .succeeds();
    project.cenote(&["rm", "-v", "user"]).succeeds();
    project
        .cenote(&["volume", "rm", "-f", "mine", "nothing"])
        .succeeds()
        .prints("mine\nnothing");
    project.cenote(&["volume", "rm", "--all"]).succeeds();
    project
        .cenote(&["volume", "ls", "-q"])
        .succeeds()
        .prints("");
    project
        .cenote(&["volume", "inspect", "mine"])
        .fails_with(&["no volume mine", "cenote volume ls"]);
    assert_eq!(
        fs::read_dir(host.data().join("volumes")).unwrap().count(),
        0
    );
}

#[test]
fn files_belong_to_whoever_runs_in_the_container() {
    let host = Host::new();
    let project = Project::new(&host);
    project.write("mine", "mine\n");
    let me = fs::metadata(project.path("mine")).unwrap().uid();
    if is_root() {
        // Ids are the same on both sides.
        std::os::unix::fs::chown(&project.folder, Some(1000), Some(1001)).unwrap();
        std::os::unix::fs::chown(project.path("mine"), Some(1000), Some(1001)).unwrap();
    }
    let script = "id -u; stat -c %u:%g mine; echo more >> mine; touch made; mkdir dir; stat -c %u:%g made dir";
    let flags = ["-u", "1000:1001", "-v", ".:/src", "-w", "/src"];
    let outcome = project.run(&flags, script).succeeds();
    assert_eq!(
        outcome.stdout(),
        "1000\n1000:1001\n1000:1001\n1000:1001",
        "{}",
        outcome.all()
    );
    let owner = if is_root() { 1000 } else { me };
    assert_eq!(fs::metadata(project.path("made")).unwrap().uid(), owner);
    assert_eq!(project.read("mine"), "mine\nmore\n");

    // A new volume is its user's too.
    project
        .run(
            &["-u", "1000:1001", "-v", "fresh:/fresh"],
            "touch /fresh/x && stat -c %u:%g /fresh",
        )
        .succeeds()
        .prints("1000:1001");

    // Root in the container may do what archives want of it.
    let script = "mkdir tree; touch tree/x; chown 7:8 tree/x && tar -cf tree.tar tree; mkdir out; tar -xpf tree.tar -C out && \
                  stat -c %u:%g out/tree/x";
    let outcome = project
        .run(&["-v", ".:/src", "-w", "/src"], script)
        .succeeds();
    outcome.prints(if is_root() { "7:8" } else { "0:0" });
    let owner = if is_root() { 7 } else { me };
    let found = fs::metadata(project.path("out/tree/x")).unwrap();
    assert_eq!(found.uid(), owner);

    // A daemon that goes on as somebody else has its files in a volume as its own, whoever it is on the host.
    project.start("db", &["-v", "db:/db"]);
    project.exec("db", "mkdir -m 700 /db/data; chown 33:34 /db/data");
    let command = [
        "sh",
        "-c",
        "echo 1 > /db/data/row; stat -c %u:%g /db/data /db/data/row",
    ];
    project
        .cenote(&[&["exec", "-u", "33:34", "db"], &command[..]].concat())
        .succeeds()
        .prints("33:34\n33:34");
    project.cenote(&["rm", "-f", "db"]).succeeds();
    project
        .run(
            &["-u", "33:34", "-v", "db:/db"],
            "cat /db/data/row; stat -c %u:%g /db/data/row",
        )
        .succeeds()
        .prints("1\n33:34");

    // Root can leave the files of a folder to whoever has it.
    if is_root() {
        let script = "touch /src/theirs; stat -c %u:%g /src/theirs /src/mine";
        project
            .run(&["-v", ".:/src:idmap=owner"], script)
            .succeeds()
            .prints("0:0\n0:0");
        let found = fs::metadata(project.path("theirs")).unwrap();
        assert_eq!((found.uid(), found.gid()), (1000, 1001));
    }
    let refused = project.run(&["-v", ".:/src:idmap=none"], "true");
    match is_root() {
        true => drop(refused.succeeds()),
        false => drop(refused.fails_with(&["idmap=none on /src needs root"])),
    }
}
