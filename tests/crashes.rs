//! Machines that do not come up, or end early: one clear message with what the console said, code 125, nothing left.

use std::fs;

use crate::fixture::{Host, Outcome};

/// Where the kernels of these tests are loaded and entered.
const ENTRY: u32 = 0x100_0000;

/// `jmp .`, in 32-bit and in 64-bit code.
const SPIN: [u8; 2] = [0xeb, 0xfe];

/// `ud2`, whose exception has no handler, as has the exception of that.
const FAULT: [u8; 2] = [0x0f, 0x0b];

/// Puts a file beside the host's kernels as one called `name`.
fn install(host: &Host, name: &str, vmlinux: &[u8]) {
    let folder = host.data().join("kernels").join(name);
    fs::create_dir_all(folder.join("modules")).unwrap();
    fs::write(folder.join("vmlinux"), vmlinux).unwrap();
    let record =
        format!(r#"{{"version": "{name}", "packages": [], "sha256": "{name}", "modules": []}}"#);
    fs::write(folder.join("kernel.json"), record).unwrap();
}

/// An x86-64 ELF kernel that consists of a few instructions, with the PVH entry note (`XEN_ELFNOTE_PHYS32_ENTRY`).
fn kernel(code: &[u8]) -> Vec<u8> {
    const HEADER: u64 = 64;
    const SEGMENT: u64 = 56;
    const AT: u64 = 4096;
    let note: Vec<u8> = [4_u32, 8, 18]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .chain(*b"Xen\0")
        .chain(u64::from(ENTRY).to_le_bytes())
        .collect();
    let segment = |kind: u32, flags: u32, at: u64, address: u64, length: u64, align: u64| {
        let mut bytes = Vec::new();
        bytes.extend(kind.to_le_bytes());
        bytes.extend(flags.to_le_bytes());
        for field in [at, address, address, length, length, align] {
            bytes.extend(field.to_le_bytes());
        }
        bytes
    };
    let mut elf = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    elf.extend(2_u16.to_le_bytes()); // ET_EXEC
    elf.extend(62_u16.to_le_bytes()); // EM_X86_64
    elf.extend(1_u32.to_le_bytes());
    elf.extend(u64::from(ENTRY).to_le_bytes());
    elf.extend(HEADER.to_le_bytes());
    elf.extend(0_u64.to_le_bytes());
    elf.extend(0_u32.to_le_bytes());
    for half in [HEADER as u16, SEGMENT as u16, 2, 64, 0, 0] {
        elf.extend(half.to_le_bytes());
    }
    let length = AT;
    elf.extend(segment(1, 7, AT, ENTRY.into(), length, AT));
    let note_at = HEADER + 2 * SEGMENT;
    elf.extend(segment(4, 4, note_at, 0, note.len() as u64, 4));
    elf.extend(note);
    elf.resize(AT as usize, 0);
    elf.extend(code);
    elf.resize((AT + length) as usize, 0x90);
    elf
}

/// Demands code 125 and a message whose first line has each of `words`, and that nothing is left.
fn fails(host: &Host, outcome: Outcome, words: &[&str]) -> Outcome {
    let failed = outcome.exits(125);
    let message = failed.stderr();
    let first = message.lines().next().unwrap_or_default();
    assert!(first.starts_with("cenote: "), "{}", failed.all());
    for word in words {
        assert!(first.contains(word), "no `{word}` in: {}", failed.all());
    }
    // What follows is quoted from the console.
    let quoted = |line: &str| line.starts_with("  | ");
    assert!(message.lines().skip(1).all(quoted), "{}", failed.all());
    assert!(host.sandboxes().is_empty());
    failed
}

#[test]
fn a_kernel_that_is_none_is_refused() {
    let host = Host::new();
    install(&host, "1.0-garbage", &[b'x'; 100_000]);
    let run = [
        "run",
        "--rm",
        "-q",
        "--kernel",
        "1.0-garbage",
        "busybox",
        "true",
    ];
    fails(&host, host.run(&run), &["1.0-garbage", "kernel"]);
}

#[test]
fn a_triple_fault_ends_the_machine() {
    let host = Host::new();
    install(&host, "1.0-fault", &kernel(&FAULT));
    let run = [
        "run",
        "--rm",
        "-q",
        "--kernel",
        "1.0-fault",
        "busybox",
        "true",
    ];
    fails(&host, host.run(&run), &["triple fault"]);
}

#[test]
fn a_kernel_that_spins_is_given_up() {
    let host = Host::new();
    install(&host, "1.0-spin", &kernel(&SPIN));
    let run = [
        "run", "--rm", "-q", "--kernel", "1.0-spin", "busybox", "true",
    ];
    fails(&host, host.run(&run), &["did not come up within 120 s"]);
}

#[test]
fn a_panic_under_a_running_container_is_quoted() {
    let host = Host::new();
    let container = host
        .cenote(&[
            "run", "--rm", "-q", "--name", "victim", "busybox", "sleep", "1000",
        ])
        .start();
    while host
        .sandboxes()
        .iter()
        .all(|sandbox| sandbox["status"] != "running")
    {}
    let crash = "echo c > /proc/sysrq-trigger";
    let lost = host.run(&["exec", "--vm", "victim", "sh", "-c", crash]);
    assert_ne!(lost.code(), 0, "{}", lost.all());
    let words = ["ended before its container did", "kernel panicked: sysrq"];
    let failed = fails(&host, container.finish(), &words);
    assert!(failed.stderr().contains("\n  | "), "{}", failed.all());
}

#[test]
fn a_detached_container_whose_machine_fails_says_why() {
    let host = Host::new();
    install(&host, "1.0-fault", &kernel(&FAULT));
    let run = [
        "run",
        "-d",
        "--rm",
        "-q",
        "--kernel",
        "1.0-fault",
        "busybox",
        "true",
    ];
    fails(&host, host.run(&run), &["triple fault"]);
}

#[test]
fn too_little_memory_is_refused_with_the_figure() {
    let host = Host::new();
    host.run(&["run", "--rm", "-m", "64m", "busybox", "true"])
        .fails_with(&["--memory 64.0 MiB", "96.0 MiB"]);
    // The images' page structures come on top.
    host.run(&["run", "--rm", "-q", "-m", "96m", "busybox", "true"])
        .fails_with(&["page structures", "--memory 97m"]);
    host.run(&[
        "run", "--rm", "-q", "-m", "96m", "--nested", "busybox", "true",
    ])
    .fails_with(&["page structures", "--memory"]);
    assert!(host.sandboxes().is_empty());
}
