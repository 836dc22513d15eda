//! Directories, files and volumes of the host in a container.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::fixture::{Host, Invocation, Outcome};

/// A folder of the user's, in which commands are run.
struct Project<'a> {
    host: &'a Host,
    folder: PathBuf,
}

impl<'a> Project<'a> {
    fn new(host: &'a Host) -> Self {
        let folder = host.scratch().join("project");
        fs::create_dir(&folder).unwrap();
        Self { host, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// Runs the program in the folder.
    fn cenote(&self, arguments: &[&str]) -> Outcome {
        let mut command = self.host.command(arguments);
        command.current_dir(&self.folder);
        Invocation::new(command).run()
    }

    /// Runs a script in a container of its own.
    fn run(&self, flags: &[&str], script: &str) -> Outcome {
        let command = ["busybox", "sh", "-c", script];
        self.cenote(&[&["run", "--rm", "-q"], flags, &command].concat())
    }

    /// Starts a container called `name` that stays until it is removed.
    fn start(&self, name: &str, flags: &[&str]) {
        let command = ["busybox", "sleep", "100000"];
        self.cenote(&[&["run", "-d", "-q", "--name", name], flags, &command].concat())
            .succeeds();
    }

    /// What a script prints in a running container, errors among it.
    fn exec(&self, name: &str, script: &str) -> String {
        let script = format!("exec 2>&1; {script}");
        self.cenote(&["exec", name, "sh", "-c", &script]).stdout()
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
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

#[test]
fn how_soon_a_change_on_the_host_is_seen() {
    let host = Host::new();
    let project = Project::new(&host);
    let modes = ["never", "metadata", "auto", "always"];
    for mode in modes {
        fs::create_dir(project.path(mode)).unwrap();
        project.write(&format!("{mode}/file"), "old\n");
        project.write(&format!("{mode}/grows"), "1234");
        fs::copy("/bin/busybox", project.path(mode).join("busybox")).unwrap();
    }
    let flags: Vec<String> = modes
        .iter()
        .flat_map(|mode| ["-v".to_owned(), format!("./{mode}:/{mode}:cache={mode}")])
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    project.start("looks", &flags);
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

    for mode in modes {
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
fn wrong_uses_are_told_before_a_machine_starts() {
    let host = Host::new();
    let project = Project::new(&host);
    project.write("file", "");
    let refused = |flags: &[&str], words: &[&str]| {
        let arguments = [&["run", "--rm"], flags, &["busybox", "true"]].concat();
        let outcome = project.cenote(&arguments).exits(125);
        for word in words {
            assert!(
                outcome.stderr().contains(word),
                "no `{word}` in {}",
                outcome.all()
            );
        }
    };
    refused(
        &["-v", "./missing:/src"],
        &["statfs", "project/missing", "No such file or directory"],
    );
    refused(
        &["-v", "src/sub:/src"],
        &["`src/sub` is no name of a volume", "./src/sub"],
    );
    refused(
        &["-v", ".:src"],
        &["invalid container path `src`, must be an absolute path"],
    );
    refused(&["-v", ".:/src:frob"], &["`frob` is no option"]);
    refused(
        &["-v", ".:/src:cache=some"],
        &["cache=some", "never, metadata, auto or always"],
    );
    refused(
        &["-v", "a:/b:c:d"],
        &["incorrect volume format", "[SOURCE:]TARGET[:OPTIONS]"],
    );
    refused(&["-v", ".:/"], &["nothing can be mounted on `/`"]);
    refused(
        &["-v", ".:/a", "--tmpfs", "/a"],
        &["/a: duplicate mount destination"],
    );
    refused(
        &["--mount", "type=bind,dst=/a"],
        &["--mount of type bind needs source="],
    );
    refused(
        &["--mount", "type=glob,dst=/a"],
        &["there is no type `glob`"],
    );
    refused(
        &["--volumes-from", "x"],
        &["--volumes-from is not supported"],
    );
    let many: Vec<String> = (0..13)
        .flat_map(|n| ["-v".to_owned(), format!(".:/d{n}")])
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    refused(&many, &["13 shares", "12"]);
    assert!(host.sandboxes().is_empty());
    assert_eq!(project.cenote(&["volume", "ls", "-q"]).stdout(), "");

    // What only the guest can know fails the start, and leaves nothing.
    refused(
        &["-v", "./file:/bin"],
        &["mount a file on", "/bin", "Is a directory"],
    );
    refused(
        &["-v", ".:/bin/busybox"],
        &["mount a directory on", "/bin/busybox", "Not a directory"],
    );
    refused(
        &["-v", "/dev/null:/null"],
        &["/dev/null", "neither a directory nor a file"],
    );
    assert!(host.sandboxes().is_empty());
}
