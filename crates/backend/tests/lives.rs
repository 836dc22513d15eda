//! Many machines in one process, one after the other: nothing of one that has ended stays in the process.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use cenote_backend::machine::{Network, Vm};
use cenote_backend::{Backend, Disk, Machine, Pmem, Stopped};

/// How many machines there are, unless `CENOTE_SOAK_CYCLES` says otherwise.
const LIVES: u32 = 50;

/// The port that the agent calls first.
const CONTROL_PORT: u32 = 1024;

/// Nothing but a guest's memory is as large: what `malloc` reserves for a thread has half of it.
const LARGE: u64 = 128 << 20;

/// Small mappings without a name that may be more than before: `malloc` and the threads' library keep what they had for the
/// next thread, and how many threads there were at once differs. One for each machine would be more.
const KEPT: usize = 24;

/// What the process has.
#[derive(Debug, PartialEq, Eq)]
struct Holdings {
    /// How many descriptors there are of each kind of file.
    descriptors: BTreeMap<String, usize>,
    /// How many mappings there are of each name, and of those without one how many are large.
    mappings: BTreeMap<String, usize>,
}

impl Holdings {
    /// The holdings, and the number of small mappings without a name.
    fn now() -> (Self, usize) {
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
        let (mut mappings, mut small) = (BTreeMap::new(), 0);
        for line in maps.lines() {
            match line.split_whitespace().nth(5) {
                None if size(line) < LARGE => small += 1,
                name => {
                    *mappings
                        .entry(name.unwrap_or_default().to_owned())
                        .or_default() += 1
                }
            }
        }
        let holdings = Self {
            descriptors,
            mappings,
        };
        (holdings, small)
    }
}

/// The length of what a line of /proc/self/maps tells of.
fn size(line: &str) -> u64 {
    let range = line.split_whitespace().next().unwrap();
    let (start, end) = range.split_once('-').unwrap();
    let number = |text| u64::from_str_radix(text, 16).unwrap();
    number(end) - number(start)
}

/// Returns when there are no more threads than `count`: one that has been joined may still be leaving.
fn wait_for_threads(count: usize) {
    while threads() > count {
        thread::yield_now();
    }
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
#[ignore = "needs KVM and the folder of a kernel in CENOTE_TEST_KERNEL: `make test-kvm` runs it"]
fn nothing_of_a_machine_that_has_ended_stays_in_its_process() {
    let kernel = env::var_os("CENOTE_TEST_KERNEL").map(PathBuf::from);
    let kernel = kernel.expect("CENOTE_TEST_KERNEL is not set: run `make test-kvm`");
    let lives = env::var("CENOTE_SOAK_CYCLES").map_or(LIVES, |lives| lives.parse().unwrap());
    let place = tempfile::tempdir().unwrap();
    let count = threads();
    let after_a_life = || {
        live(&kernel, place.path());
        wait_for_threads(count);
        Holdings::now()
    };
    // The first one leaves what is made once in a process.
    let (before, few) = after_a_life();
    for life in 1..=lives {
        let (now, small) = after_a_life();
        assert_eq!(now, before, "after machine {life}");
        assert!(
            small <= few + KEPT,
            "{small} instead of {few} small mappings after machine {life}"
        );
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
    let calls = at(&format!("vsock_{CONTROL_PORT}"));
    let agent = UnixListener::bind(&calls).unwrap();
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
    let vm: Arc<dyn Vm> = Arc::from(vm);
    let console = vm.console().unwrap();
    // A machine that ends by itself calls in its agent's place.
    let watcher = thread::spawn({
        let (vm, calls) = (Arc::clone(&vm), calls.clone());
        move || {
            let stopped = vm.wait();
            let _ = UnixStream::connect(calls);
            stopped
        }
    });
    let (call, _) = agent.accept().unwrap();
    vm.pause().unwrap();
    vm.resume().unwrap();
    vm.kill();
    assert_eq!(watcher.join().unwrap(), Stopped::Off);
    drop((vm, console, call, peer));
    fs::remove_file(calls).unwrap();
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
