use std::ffi::{OsStr, OsString};
use std::io::Write;
use std::process::{Command, Stdio};

use super::{initramfs, without_devices};

fn words(line: &str) -> Vec<OsString> {
    line.split(' ').map(OsString::from).collect()
}

#[test]
fn devices_go_and_the_machine_stays() {
    let line = words(
        "loader qemu -nodefaults -machine q35,memory-backend=ram -smp 1 -object memory-backend-memfd,id=ram \
         -kernel vmlinux -initrd agent.cpio -append quiet -chardev stdio,id=console -device isa-serial,chardev=console \
         -object memory-backend-file,id=image0 -device virtio-pmem-pci,id=pmem0 -blockdev driver=raw \
         -device virtio-blk-pci -chardev socket,id=vsock,fd=9 -device vhost-user-vsock-pci -netdev stream,id=net \
         -chardev socket,id=control,fd=4 -mon chardev=control,mode=control",
    );
    let bare = words(
        "loader qemu -nodefaults -machine q35,memory-backend=ram -smp 1 -object memory-backend-memfd,id=ram \
         -kernel vmlinux -initrd floor.cpio -append quiet -chardev stdio,id=console -device isa-serial,chardev=console",
    );
    assert_eq!(without_devices(&line, OsStr::new("floor.cpio")), bare);
}

#[test]
fn cpio_reads_the_archive() {
    let mut cpio = Command::new("cpio")
        .args(["--quiet", "-itv"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("cpio is needed: install the package cpio");
    cpio.stdin
        .take()
        .unwrap()
        .write_all(&initramfs(b"#!program"))
        .unwrap();
    let output = cpio.wait_with_output().unwrap();
    let listing = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success());
    assert!(
        listing.starts_with("-rwxr-xr-x   1 root     root            9"),
        "{listing}"
    );
    assert!(listing.ends_with(" init\n"), "{listing}");
}
