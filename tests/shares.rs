//! Directories and files of the host in a container.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::fixture::{Host, Project};

/// All of `cache=`.
const MODES: [&str; 4] = ["never", "metadata", "auto", "always"];

/// Starts a container in which the project's folder of each mode's name is shared in that mode.
fn start_with_each_mode(project: &Project<'_>, name: &str) {
    let flags: Vec<String> = MODES
        .iter()
        .flat_map(|mode| ["-v".to_owned(), format!("./{mode}:/{mode}:cache={mode}")])
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    project.start(name, &flags);
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_folder_is_read_and_written_from_both_sides() {
    let host = Host::new();
    let project = Project::new(&host);
    project.write("source", "of the host\n");
    project.write("program", "#!/bin/sh\necho runs\n");
    fs::set_permissions(project.path("program"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(project.path("other")).unwrap();
    let mut flags = vec![
        "-v",
        ".:/src",
        "-v",
        "./other:/other",
        "-v",
        ".:/noexec:noexec",
    ];
    flags.extend(["--mount", "type=bind,src=.,dst=/fixed,ro"]);
    flags.extend(["--mount", "type=tmpfs,dst=/src/scratch,tmpfs-size=1m"]);
    project.start("dev", &flags);
    let inside = |script: &str| project.exec("dev", script);

    assert_eq!(
        inside("cat /src/source; stat -c '%u %s' /src/source"),
        "of the host\n0 12"
    );
    inside(
        "cd /src; echo of the guest > made; mkdir -p deep/er; mv made deep/er/moved; chmod 2750 deep",
    );
    assert_eq!(project.read("deep/er/moved"), "of the guest\n");
    assert_eq!(mode(&project.path("deep")), 0o2750);
    assert_eq!(inside("/src/program"), "runs");
    project.write("source", "of the host again\n");
    assert_eq!(inside("cat /src/source"), "of the host again");
    project.write("new", "as soon as it is there");
    assert_eq!(inside("cat /src/new"), "as soon as it is there");

    // A file that is removed while it is open is there until it is closed.
    let script =
        "cd /src; exec 3<> gone; rm gone; echo still there >&3; cat /proc/self/fd/3; ls gone";
    let gone = "still there\nls: gone: No such file or directory";
    assert_eq!(inside(script), gone);
    assert!(!project.path("gone").exists());

    // Shares are file systems of their own, also those of the same folder.
    let link =
        inside("ln /src/source /src/linked && stat -c %h /src/source; ln /src/source /other/x");
    assert_eq!(link, "2\nln: /other/x: Invalid cross-device link");

    // Files are as long as the host has them.
    let script = "cd /src; truncate -s 2G big; echo end >> big; tail -c 4 big; stat -c %s big";
    assert_eq!(inside(script), "end\n2147483652");
    let big = fs::File::open(project.path("big")).unwrap();
    let mut end = [0; 4];
    big.read_exact_at(&mut end, 2 << 30).unwrap();
    assert_eq!(&end, b"end\n");
    let blocks = big.metadata().unwrap().blocks();
    assert!(blocks < 1000, "{blocks} blocks of a sparse file");

    let read_only = "sh: can't create /fixed/source: Read-only file system";
    assert_eq!(inside("echo x > /fixed/source"), read_only);
    assert_eq!(inside("cat /fixed/source"), "of the host again");
    assert_eq!(
        inside("/noexec/program"),
        "sh: /noexec/program: Permission denied"
    );
    assert_eq!(inside("grep -c 'virtiofs.*nosuid,nodev' /proc/mounts"), "4");
    // The mount in a mount has hidden an empty folder, as it does with podman.
    inside("echo x > /src/scratch/file");
    assert_eq!(fs::read_dir(project.path("scratch")).unwrap().count(), 0);

    let mounts = &host.run(&["inspect", "dev"]).json()[0]["spec"]["mounts"];
    assert_eq!(mounts[0]["target"], "/fixed");
    assert_eq!(mounts[0]["read_only"], true);
    let folder = project.folder.to_str().unwrap();
    assert_eq!(mounts[0]["source"]["path"], folder);
    assert_eq!(mounts[0]["source"]["type"], "bind");
    assert_eq!(mounts[4]["source"]["type"], "tmpfs");

    // Stopped and started again, all is as it was.
    project.cenote(&["stop", "-t", "1", "dev"]).succeeds();
    project.cenote(&["start", "dev"]).succeeds();
    assert_eq!(inside("cat /src/deep/er/moved"), "of the guest");
}

#[test]
fn folders_are_shared_over_vsock() {
    let host = Host::new();
    let project = Project::new(&host);
    project.write("source", "of the host\n");
    project.write("alone", "one file\n");
    let mut flags = vec!["--share-transport", "vsock", "-v", ".:/src"];
    flags.extend(["-v", "./alone:/etc/alone:ro", "-v", "kept:/kept"]);
    project.start("dev", &flags);
    let inside = |script: &str| project.exec("dev", script);

    assert_eq!(inside("grep -c ' fuse .*nosuid,nodev' /proc/mounts"), "3");
    assert_eq!(
        inside("cat /src/source; stat -c '%u %s' /src/source"),
        "of the host\n0 12"
    );
    assert_eq!(
        inside("cat /etc/alone; ls /etc/alone"),
        "one file\n/etc/alone"
    );
    assert_eq!(
        inside("echo x > /etc/alone"),
        "sh: can't create /etc/alone: Read-only file system"
    );
    // Longer than any message, and many of them at once.
    let script = "cd /src; dd if=/dev/zero bs=1M count=5 2>/dev/null | tr '\\0' x > long
        for n in 1 2 3 4 5 6 7 8; do (cp long copy$n; sync copy$n; cmp long copy$n) & done; wait
        echo of the guest > made; mkdir deep; mv made deep/moved; rm copy1; ls; stat -c %s copy8";
    assert_eq!(
        inside(script),
        "alone\ncopy2\ncopy3\ncopy4\ncopy5\ncopy6\ncopy7\ncopy8\ndeep\nlong\nsource\n5242880"
    );
    assert!(fs::read(project.path("copy5")).unwrap() == vec![b'x'; 5 << 20]);
    assert_eq!(project.read("deep/moved"), "of the guest\n");
    project.write("new", "as soon as it is there");
    assert_eq!(inside("cat /src/new"), "as soon as it is there");

    inside("echo of the volume > /kept/file");
    project.cenote(&["rm", "-f", "dev"]).succeeds();
    let again = project.run(
        &["--share-transport", "vsock", "-v", "kept:/kept"],
        "cat /kept/file",
    );
    assert_eq!(again.stdout(), "of the volume");
}

#[test]
fn nothing_leads_out_of_what_is_shared() {
    let host = Host::new();
    let project = Project::new(&host);
    host.file("secret", "secret");
    host.file("hostname", "of the host");
    symlink("/etc/hostname", project.path("absolute")).unwrap();
    symlink("../hostname", project.path("up")).unwrap();
    symlink(host.scratch().join("secret"), project.path("outside")).unwrap();
    symlink("..", project.path("above")).unwrap();
    // A mount point that is a link of the share leads into the container, not into the host.
    symlink("/etc", project.path("etc")).unwrap();
    project.write("mounted", "over a link");
    let script = r#"
        cat /src/absolute; cat /src/up; cat /src/outside; ls /src/above/secret; ls /src/../etc/hostname
        cat /etc/motd; cd /src; cat ../secret; mkdir escape; rmdir escape/..; ls -d /src/..; true"#;
    let mut flags = vec!["-v", ".:/src", "-v", "./mounted:/src/etc/motd"];
    flags.extend(["--hostname", "inside"]);
    let outcome = project
        .run(&flags, &format!("exec 2>&1; {script}"))
        .succeeds();
    let outside = host.scratch().join("secret");
    let expected = "inside\ncat: can't open '/src/up': No such file or directory\n\
         cat: can't open '/src/outside': No such file or directory\n\
         ls: /src/above/secret: No such file or directory\n/src/../etc/hostname\nover a link\
         cat: can't open '../secret': No such file or directory\n\
         rmdir: 'escape/..': Directory not empty\n/src/..";
    assert_eq!(outcome.stdout(), expected);
    assert!(!Path::new("/etc/motd").exists() || fs::read("/etc/motd").unwrap() != b"over a link");
    assert_eq!(fs::read(outside).unwrap(), b"secret");
}

#[test]
fn a_single_file_shows_nothing_beside_it() {
    let host = Host::new();
    let project = Project::new(&host);
    project.write("config", "one\n");
    project.write("sibling", "secret\n");
    let mut flags = vec![
        "-v",
        "./config:/etc/app/config",
        "-v",
        "./config:/etc/hosts:ro",
    ];
    flags.extend(["--hostname", "app"]);
    project.start("app", &flags);
    let inside = |script: &str| project.exec("app", script);

    assert_eq!(inside("ls -A /etc/app; cat /etc/app/config"), "config\none");
    assert_eq!(
        inside("find / -xdev -name sibling; find / -name sibling 2>/dev/null"),
        ""
    );
    // Edits of either side are seen by the other; /etc/hosts is the same file.
    project.write("config", "two, and longer\n");
    assert_eq!(
        inside("cat /etc/app/config /etc/hosts"),
        "two, and longer\ntwo, and longer"
    );
    inside("echo three > /etc/app/config");
    assert_eq!(project.read("config"), "three\n");
    assert_eq!(
        inside("echo x > /etc/hosts"),
        "sh: can't create /etc/hosts: Read-only file system"
    );
    // The mount is the file, whatever its name: it can neither be removed nor replaced from inside.
    let busy = inside("rm /etc/app/config; mv /tmp /etc/app/config");
    assert!(busy.contains("busy"), "{busy}");
    // Replaced on the host, it is the old one until the container starts again, as with podman.
    project.write("replacement", "four\n");
    fs::rename(project.path("replacement"), project.path("config")).unwrap();
    assert_eq!(inside("cat /etc/app/config"), "three");
    project.cenote(&["stop", "-t", "1", "app"]).succeeds();
    project.cenote(&["start", "app"]).succeeds();
    assert_eq!(inside("cat /etc/app/config"), "four");
}

#[test]
fn how_soon_a_change_on_the_host_is_seen() {
    let host = Host::new();
    let project = Project::new(&host);
    for mode in MODES {
        fs::create_dir(project.path(mode)).unwrap();
        project.write(&format!("{mode}/file"), "old\n");
        project.write(&format!("{mode}/grows"), "1234");
        fs::copy("/bin/busybox", project.path(mode).join("busybox")).unwrap();
    }
    start_with_each_mode(&project, "looks");
    let inside = |script: &str| project.exec("looks", script);
    let everywhere = |script: &str| {
        inside(&format!(
            "for mode in never metadata auto always; do cd /$mode; {script}; done"
        ))
    };
    assert_eq!(
        everywhere("cat file; stat -c %s grows; ls missing 2>/dev/null"),
        ["old\n4"; 4].join("\n")
    );

    for mode in MODES {
        // In place and of the same length: only the file's time tells.
        let file = fs::File::options()
            .write(true)
            .open(project.path(mode).join("file"))
            .unwrap();
        file.write_all_at(b"new\n", 0).unwrap();
        let mut grows = fs::File::options()
            .append(true)
            .open(project.path(mode).join("grows"))
            .unwrap();
        grows.write_all(b"5678").unwrap();
        project.write(&format!("{mode}/missing"), "");
    }
    // A file's data: at once, but where they are kept for good.
    assert_eq!(everywhere("cat file"), "new\nnew\nnew\nold");
    // A file's attributes: at once, never, within a second, never.
    let sizes = everywhere("stat -c %s grows");
    assert!(
        ["8\n4\n8\n4", "8\n4\n4\n4"].contains(&sizes.as_str()),
        "{sizes}"
    );
    inside("until [ $(stat -c %s /auto/grows) = 8 ]; do :; done");
    // A name that was not there: at once, but where also that is kept.
    assert_eq!(
        everywhere("ls missing 2>/dev/null"),
        "missing\nmissing\nmissing"
    );

    // A name that goes, or goes to another file, as editors save: at once, or within a second.
    for mode in ["never", "auto"] {
        fs::remove_file(project.path(mode).join("missing")).unwrap();
        project.write(&format!("{mode}/saved"), "saved\n");
        fs::rename(
            project.path(mode).join("saved"),
            project.path(mode).join("file"),
        )
        .unwrap();
    }
    let gone = "ls: missing: No such file or directory\nsaved";
    assert_eq!(inside("cd /never; ls missing; cat file"), gone);
    inside("cd /auto; until [ $(cat file) = saved ] && ! ls missing; do :; done");

    // `never` keeps no data in the guest's memory, and yet maps files: a program runs from it.
    for mode in ["never", "auto"] {
        fs::write(project.path(mode).join("large"), vec![7; 64 << 20]).unwrap();
    }
    let cached = |mode: &str| -> i64 {
        let script = format!(
            "cached() {{ awk '/^Cached:/ {{ print $2 }}' /proc/meminfo; }}; before=$(cached); \
             cat /{mode}/large > /dev/null; echo $(($(cached) - before))"
        );
        inside(&script).parse().unwrap()
    };
    let (never, auto) = (cached("never"), cached("auto"));
    assert!(never < 4 << 10, "cache=never left {never} KiB in the guest");
    assert!(auto > 60 << 10, "cache=auto kept {auto} KiB only");
    assert_eq!(inside("/never/busybox echo mapped"), "mapped");
}

#[test]
fn a_program_writes_straight_from_its_own_file() {
    let host = Host::new();
    let project = Project::new(&host);
    for mode in MODES {
        fs::create_dir(project.path(mode)).unwrap();
    }
    start_with_each_mode(&project, "writes");
    for mode in MODES {
        // The names are constants of the program, and it hands each of them to the system as it is.
        let list = format!("busybox --list > /{mode}/list");
        assert_eq!(project.exec("writes", &list), "");
        let list = project.read(&format!("{mode}/list"));
        assert!(list.starts_with("[\n[[\n"), "cache={mode}: {list:?}");
        assert!(list.ends_with("\nzcat\n"), "cache={mode}: {list:?}");
    }
}

#[test]
fn what_changes_on_the_host_is_seen_by_the_next_look() {
    let host = Host::new();
    let project = Project::new(&host);
    for name in ["edited", "removed", "replaced", "renamed"] {
        project.write(name, "one\n");
    }
    fs::create_dir_all(project.path("folder/inner")).unwrap();
    project.write("folder/inner/file", "one\n");
    project.start("dev", &["-v", ".:/src"]);
    let look = "cd /src; stat -c %s edited removed replaced renamed folder/inner/file; \
                ls . folder new moved";
    let before = project.exec("dev", look);
    assert!(
        before.contains("ls: new: No such file or directory"),
        "{before}"
    );

    project.write("edited", "longer than before\n");
    project.write("new", "two\n");
    project.write("other", "also longer\n");
    fs::remove_file(project.path("removed")).unwrap();
    fs::rename(project.path("other"), project.path("replaced")).unwrap();
    fs::rename(project.path("renamed"), project.path("renamed2")).unwrap();
    fs::rename(project.path("folder/inner"), project.path("moved")).unwrap();
    project.write("moved/file", "at another place\n");
    project.write("told", "");
    // Changes are told in the order in which they happen; what is not told would be seen after a minute.
    let told = "timeout 40 sh -c 'until [ -e /src/told ]; do :; done' || echo late";
    let look =
        "cd /src; cat edited new replaced moved/file; ls -d . * removed renamed folder/inner";
    assert_eq!(
        project.exec("dev", &format!("{told}; {look}")),
        "longer than before\ntwo\nalso longer\nat another place\n\
         ls: removed: No such file or directory\n\
         ls: renamed: No such file or directory\n\
         ls: folder/inner: No such file or directory\n\
         .\nedited\nfolder\nmoved\nnew\nrenamed2\nreplaced\ntold"
    );
}
