//! Many machines in one process, one after the other: nothing of one that has ended stays in the process.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use cenote_backend::machine::Network;
use cenote_backend::{Backend, Disk, Machine, Pmem, Stopped};

/// How many machines there are, unless `CENOTE_SOAK_CYCLES` says otherwise.
const LIVES: u32 = 50;

/// The port that the agent calls first.
const CONTROL_PORT: u32 = 1024;

/// What the process has.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    /// How many descriptors there are of each kind of file.
    descriptors: BTreeMap<String, usize>,
    threads: usize,
    /// How many mappings there are of each name.
    mappings: BTreeMap<String, usize>,
}

impl Holdings {
    fn now() -> Self {
        let mut descriptors = BTreeMap::new();
        for entry in fs::read_dir("/proc/self/fd").unwrap() {
            // The folder that is being read has a descriptor too, which is gone when it is asked for.
            if let Ok(target) = fs::read_link(entry.unwrap().path()) {
                let name = target.to_string_lossy().into_owned();
                // `socket:[123]` and the like: the number is the one thing that no two have in common.
                let kind = name.split('[').next().unwrap_or_default().to_owned();
                *descriptors.entry(kind).or_default() += 1;
            }
        }
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let mut mappings = BTreeMap::new();
        for line in maps.lines() {
            let name = line.split_whitespace().nth(5).unwrap_or_default();
            *mappings.entry(name.to_owned()).or_default() += 1;
        }
        Self {
            descriptors,
            threads: fs::read_dir("/proc/self/task").unwrap().count(),
            mappings,
        }
    }
}

#[test]
#[ignore = "needs KVM, and in CENOTE_TEST_KERNEL the folder of a kernel with its initramfs"]
fn nothing_of_a_machine_that_has_ended_stays_in_its_process() {
    let kernel = env::var_os("CENOTE_TEST_KERNEL").map(PathBuf::from);
    let kernel = kernel
        .expect("CENOTE_TEST_KERNEL is not set: name the folder of a kernel with its initramfs");
    let lives = env::var("CENOTE_SOAK_CYCLES").map_or(LIVES, |lives| lives.parse().unwrap());
    let place = tempfile::tempdir().unwrap();
    // The first one leaves what is made once in a process.
    live(&kernel, place.path());
    let before = Holdings::now();
    for life in 1..=lives {
        live(&kernel, place.path());
        assert_eq!(Holdings::now(), before, "after machine {life}");
    }
    println!("after {lives} machines as before: {before:#?}");
}

/// Starts a machine with every device, waits until its agent calls, lets it stand still and go on, and ends it.
fn live(kernel: &Path, place: &Path) {
    let at = |name: &str| place.join(name);
    for name in ["image", "disk"] {
        File::create(at(name)).unwrap().set_len(2 << 20).unwrap();
    }
    let (stream, peer) = UnixStream::pair().unwrap();
    let vsock = at("vsock");
    let agent = UnixListener::bind(at(&format!("vsock_{CONTROL_PORT}"))).unwrap();
    let vm = Backend::Kvm
        .start(Machine {
            kernel: kernel.join("vmlinux"),
            initramfs: initramfs(kernel),
            command_line: "quiet loglevel=3 panic=-1 cryptomgr.notests no_timer_check".to_owned(),
            cpus: 2,
            memory: 256 << 20,
            nested: false,
            pmem: vec![Pmem {
                files: vec![at("image"), at("image")],
            }],
            shares: Vec::new(),
            disks: vec![Disk {
                path: at("disk"),
                read_only: false,
                ephemeral: true,
            }],
            vsock: vsock.clone(),
            network: Some(Network {
                stream: stream.into(),
                mac: [2, 0, 0, 0, 0, 1],
                mtu: 1500,
            }),
            log: File::options().write(true).open("/dev/null").unwrap(),
        })
        .unwrap();
    let console = vm.console().unwrap();
    let (call, _) = agent.accept().unwrap();
    vm.pause().unwrap();
    vm.resume().unwrap();
    vm.kill();
    assert_eq!(vm.wait(), Stopped::Off);
    drop((vm, console, call, peer));
    fs::remove_file(at(&format!("vsock_{CONTROL_PORT}"))).unwrap();
    // The device may have removed its own.
    let _ = fs::remove_file(vsock);
}

/// An initramfs of the kernel, with the agent.
fn initramfs(kernel: &Path) -> PathBuf {
    let entries = fs::read_dir(kernel).unwrap().map(|entry| entry.unwrap());
    let found = entries
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|name| name == "cpio"));
    found.unwrap_or_else(|| panic!("{} has no initramfs", kernel.display()))
}
