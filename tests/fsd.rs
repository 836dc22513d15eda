//! The file server as a process of its own, for a QEMU that somebody else starts.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::fixture::outcome::Running;
use crate::fixture::{Host, Invocation};

/// What the guest does as its first process; `rw` and `ro` are two shares.
const SESSION: &str = "#!/bin/busybox sh
busybox mkdir /rw /ro
busybox mount -t virtiofs rw /rw && busybox mount -t virtiofs ro /ro || echo no mount
busybox cat /rw/greeting
echo of the guest > /rw/answer
busybox dd if=/bin/busybox of=/rw/copy bs=1M conv=fsync 2> /dev/null
busybox cmp /rw/copy /bin/busybox && echo same
busybox cat /ro/greeting
echo more >> /ro/greeting || echo refused
busybox mount -o remount,ro /rw
busybox poweroff -f
";

#[test]
fn another_vmm_mounts_directories() {
    let host = Host::empty();
    let shared = |name: &str| {
        let folder = host.scratch().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("greeting"), format!("hello from {name}\n")).unwrap();
        folder
    };
    let (read_write, read_only) = (shared("rw"), shared("ro"));
    let servers = [
        serve(&host, &read_write, "rw.sock", &[]),
        serve(
            &host,
            &read_only,
            "ro.sock",
            &["--readonly", "--cache=always"],
        ),
    ];
    let mut qemu = qemu(&host);
    for tag in ["rw", "ro"] {
        let socket = host.scratch().join(format!("{tag}.sock"));
        qemu.arg("-chardev")
            .arg(format!("socket,id={tag},path={}", socket.display()));
        qemu.arg("-device")
            .arg(format!("vhost-user-fs-pci,chardev={tag},tag={tag}"));
    }
    let console = Invocation::new(qemu).run().succeeds().stdout();
    let lines: Vec<_> = console.lines().map(str::trim_end).collect();
    let expected = ["hello from rw", "same", "hello from ro"];
    for line in expected {
        assert!(lines.contains(&line), "no {line:?} in\n{console}");
    }
    assert!(
        lines.iter().any(|line| line.ends_with("refused")),
        "{console}"
    );

    let answer = fs::read_to_string(read_write.join("answer")).unwrap();
    assert_eq!(answer, "of the guest\n");
    let copy = fs::metadata(read_write.join("copy")).unwrap();
    assert_eq!(copy.len(), fs::metadata("/bin/busybox").unwrap().len());
    assert_eq!(copy.uid(), rustix::process::getuid().as_raw());
    assert_eq!(
        fs::read_to_string(read_only.join("greeting")).unwrap(),
        "hello from ro\n"
    );
    // With its machine, each server ends, and takes its socket along.
    for server in servers {
        server.finish().succeeds();
    }
    for socket in ["rw.sock", "ro.sock"] {
        assert!(!host.scratch().join(socket).exists());
    }
}

#[test]
fn mistakes_are_named() {
    let host = Host::empty();
    let folder = host.scratch().to_str().unwrap().to_owned();
    let precious = host.file("precious", "content");
    let fsd = |arguments: &[&str]| host.run(&[&["fsd"], arguments].concat());
    fsd(&["--shared-dir", "/nowhere", "--socket-path", "s"])
        .fails_with(&["/nowhere", "cannot open the directory to share"]);
    fsd(&["--shared-dir", &folder, "--fd", "77"]).fails_with(&["--fd 77", "listens"]);
    let socket = precious.to_str().unwrap();
    fsd(&["--shared-dir", &folder, "--socket-path", socket])
        .fails_with(&["cannot make the socket"]);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "content");
    let tag = "t".repeat(37);
    fsd(&["--shared-dir", &folder, "--socket-path", "s", "--tag", &tag]).fails_with(&["36 bytes"]);
}

/// A server whose socket is there.
fn serve(host: &Host, folder: &Path, socket: &str, flags: &[&str]) -> Running {
    let socket = host.scratch().join(socket);
    let mut command = host.command(&["fsd"]);
    command.arg("--shared-dir").arg(folder);
    command.arg("--socket-path").arg(&socket).args(flags);
    let server = Invocation::new(command).start();
    while !socket.exists() {
        assert!(Path::new(&format!("/proc/{}", server.pid())).exists());
        std::thread::yield_now();
    }
    server
}

/// QEMU with the session, ready for devices.
fn qemu(host: &Host) -> Command {
    let tool = entry(&host.data().join("tools"), "qemu-");
    let mut qemu = Command::new(tool.join("lib/ld-linux-x86-64.so.2"));
    qemu.arg("--inhibit-cache")
        .arg("--library-path")
        .arg(tool.join("lib"));
    qemu.arg(tool.join("bin/qemu-system-x86_64"));
    qemu.arg("-L").arg(tool.join("share"));
    let machine = "-nodefaults -no-reboot -display none -machine q35,memory-backend=ram -m 256M \
        -accel tcg -cpu max -serial stdio -object memory-backend-memfd,id=ram,size=256M,share=on";
    qemu.args(machine.split_whitespace());
    qemu.args([
        "-append",
        "console=ttyS0 quiet loglevel=3 panic=-1 no_timer_check",
    ]);
    qemu.arg("-kernel")
        .arg(entry(&host.data().join("kernels"), "").join("vmlinux"));
    qemu.arg("-initrd").arg(initramfs(host));
    qemu
}

/// The first entry of a folder whose name begins so.
fn entry(folder: &Path, begin: &str) -> PathBuf {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    names
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(begin))
        .map(|entry| entry.path())
        .min()
        .unwrap()
}

/// A root with busybox and the session.
fn initramfs(host: &Host) -> PathBuf {
    let root = host.scratch().join("root");
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
    fs::write(root.join("init"), SESSION).unwrap();
    fs::set_permissions(root.join("init"), fs::Permissions::from_mode(0o755)).unwrap();
    let archive = host.scratch().join("initramfs");
    let mut cpio = Command::new("/bin/busybox")
        .args(["cpio", "-o", "-H", "newc"])
        .current_dir(&root)
        .stdin(Stdio::piped())
        .stdout(fs::File::create(&archive).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut names = cpio.stdin.take().unwrap();
    names.write_all(b"bin\nbin/busybox\ninit\n").unwrap();
    drop(names);
    assert!(cpio.wait().unwrap().success());
    archive
}
