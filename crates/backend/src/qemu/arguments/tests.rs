use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::{Accel, Image, Plan};
use crate::machine::Disk;

fn image(path: &str, length: u64) -> Image {
    Image {
        path: PathBuf::from(path),
        length,
        address: 5 << 30,
    }
}

fn arguments(images: &[Image], disks: &[Disk]) -> Vec<String> {
    arguments_of(Accel::Tcg, false, images, disks)
}

fn arguments_of(accel: Accel, nested: bool, images: &[Image], disks: &[Disk]) -> Vec<String> {
    let vsock = File::open("/dev/null").unwrap();
    let plan = Plan {
        accel,
        cpus: 2,
        memory: 512 << 20,
        nested,
        kernel: Path::new("/k/vmlinux"),
        initramfs: Path::new("/k/initramfs"),
        command_line: "quiet",
        images,
        disks,
        shares: &[("a,tag", vsock.as_fd())],
        vsock: vsock.as_fd(),
        control: vsock.as_fd(),
        network: None,
    };
    plan.arguments()
        .into_iter()
        .map(|argument| argument.into_string().unwrap())
        .collect()
}

#[test]
fn an_image_becomes_a_read_only_shared_mapping() {
    let line = arguments(&[image("/i/meta.erofs", 4 << 20)], &[]).join(" ");
    assert!(
        line.contains("share=on,readonly=on,size=4194304,align=2M,mem-path=/i/meta.erofs"),
        "{line}"
    );
    assert!(
        line.contains(
            "virtio-pmem-pci,id=pmem0,memdev=image0,memaddr=0x140000000,addr=0x8.0,multifunction=on"
        ),
        "{line}"
    );
}

#[test]
fn room_for_the_images_is_reserved_above_memory() {
    let line = arguments(&[image("/a", 4 << 20), image("/b", 2 << 20)], &[]);
    assert!(
        line.contains(&format!(
            "size={}B,slots=2,maxmem={}B",
            512 << 20,
            (512 << 20) + (6 << 20)
        )),
        "{line:?}"
    );
}

#[test]
fn a_share_is_a_device_with_a_queue_for_each_processor() {
    let line = arguments(&[], &[]).join(" ");
    assert!(
        line.contains("vhost-user-fs-pci,chardev=share0,addr=0x5.0,multifunction=on,num-request-queues=2,queue-size=512,tag=a,,tag"),
        "{line}"
    );
}

#[test]
fn a_comma_in_a_file_name_does_not_end_it() {
    let disk = Disk {
        path: PathBuf::from("/d/a,file.driver=null-co"),
        read_only: false,
        ephemeral: false,
    };
    let line = arguments(&[], &[disk]).join(" ");
    assert!(
        line.contains("file.filename=/d/a,,file.driver=null-co"),
        "{line}"
    );
}

#[test]
fn a_machine_has_no_card_and_no_disk_unless_asked() {
    let line = arguments(&[], &[]).join(" ");
    assert!(
        !line.contains("virtio-net")
            && !line.contains("virtio-blk")
            && !line.contains("virtio-pmem"),
        "{line}"
    );
}

#[test]
fn only_a_machine_that_runs_others_has_a_processor_that_can() {
    let cpu = |accel, nested| {
        let line = arguments_of(accel, nested, &[], &[]);
        let at = line.iter().position(|argument| argument == "-cpu").unwrap();
        line[at + 1].clone()
    };
    assert_eq!(cpu(Accel::Tcg, true), "max,+svm,+npt");
    assert_eq!(cpu(Accel::Tcg, false), "max,-svm");
    assert_eq!(cpu(Accel::Kvm, true), "host");
    assert_eq!(cpu(Accel::Kvm, false), "host,-svm,-vmx");
}

#[test]
fn images_lie_on_the_bus_in_their_order_and_the_last_one_below_the_boards_own_slot() {
    let many: Vec<_> = (0..super::MAX_PMEM).map(|_| image("/i", 2 << 20)).collect();
    let line = arguments(&many, &[]).join(" ");
    assert!(
        line.contains("memdev=image9,memaddr=0x140000000,addr=0x9.1,"),
        "{line}"
    );
    assert!(
        line.contains("memdev=image183,memaddr=0x140000000,addr=0x1e.7,"),
        "{line}"
    );
}
