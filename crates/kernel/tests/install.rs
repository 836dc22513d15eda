//! Installing a kernel from an archive and from files, with packages made here.

#[path = "../../debian/tests/repository/mod.rs"]
mod repository;

use std::fs;
use std::path::{Path, PathBuf};

use cenote_debian::Source;
use cenote_debian::source::Archive;
use cenote_kernel::install::Error;
use cenote_kernel::{Group, Store, install};
use repository::{Package, Repository, deb};

const SUITE: &str = "trixie-backports";
const OLD: &str = "7.3.4+deb13-cloud-amd64";
const NEW: &str = "7.10.1+deb13-cloud-amd64";

/// Every module that a guest asks for; dependencies beyond these are not needed here.
const MODULES: [&str; 11] = [
    "virtio_mmio",
    "vmw_vsock_virtio_transport",
    "virtio_pmem",
    "nd_pmem",
    "erofs",
    "overlay",
    "virtio_net",
    "virtio_blk",
    "kvm-amd",
    "kvm-intel",
    "tun",
];

fn static_str(text: String) -> &'static str {
    Box::leak(text.into_boxed_str())
}

fn packages(version: &str, vmlinux: &[u8]) -> [Package; 2] {
    let folder = format!("usr/lib/modules/{version}");
    let binary = vec![(format!("{folder}/vmlinuz"), bzimage(vmlinux))];
    let modules = MODULES
        .map(|name| (format!("{folder}/kernel/{name}.ko"), module()))
        .to_vec();
    [("linux-binary", binary), ("linux-modules", modules)].map(|(name, files)| Package {
        name: static_str(format!("{name}-{version}")),
        version: "1.0-1",
        depends: "",
        files,
    })
}

fn bzimage(vmlinux: &[u8]) -> Vec<u8> {
    let mut payload = zstd::encode_all(vmlinux, 0).unwrap();
    payload.extend((vmlinux.len() as u32).to_le_bytes());
    let mut image = vec![0u8; 1024];
    image[0x1f1] = 1;
    image[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
    image[0x202..0x208].copy_from_slice(b"HdrS\x0f\x02");
    image[0x24c..0x250].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    image.extend(payload);
    image
}

fn elf_header(kind: u8, program_headers: u16, sections: (u64, u16, u16)) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    header.extend([kind, 0, 62, 0, 1, 0, 0, 0]);
    header.extend([0; 8]);
    header.extend(if program_headers > 0 { 64u64 } else { 0 }.to_le_bytes());
    header.extend(sections.0.to_le_bytes());
    header.extend([0, 0, 0, 0, 64, 0, 56, 0]);
    header.extend(program_headers.to_le_bytes());
    header.extend([64, 0]);
    header.extend(sections.1.to_le_bytes());
    header.extend(sections.2.to_le_bytes());
    header
}

/// A kernel: nothing but a note; of type 18 it names a PVH entry point.
fn vmlinux(note: u32) -> Vec<u8> {
    let mut file = elf_header(2, 1, (0, 0, 0));
    let (offset, size) = (64u64 + 56, 20u64);
    for word in [4u64 | 4 << 32, offset, 0, 0, size, size, 4] {
        file.extend(word.to_le_bytes());
    }
    for word in [4u32, 4, note] {
        file.extend(word.to_le_bytes());
    }
    file.extend(b"Xen\0\x01\0\0\0");
    file
}

/// A module without dependencies.
fn module() -> Vec<u8> {
    const CONTENT: &[u8] = b"depends=\0\0.modinfo\0.shstrtab\0";
    let mut file = elf_header(1, 0, (96, 3, 2));
    file.extend(CONTENT);
    file.resize(96, 0);
    for (name, kind, offset, size) in [(0u32, 0u32, 0u64, 0u64), (1, 1, 64, 9), (10, 3, 73, 20)] {
        file.extend(name.to_le_bytes());
        file.extend(kind.to_le_bytes());
        file.extend([0; 16]);
        file.extend(offset.to_le_bytes());
        file.extend(size.to_le_bytes());
        file.extend([0; 24]);
    }
    file
}

fn archive(repository: &Repository) -> Source {
    Source::Archive(Archive {
        mirror: Some(repository.mirror()),
        keyring: Some(repository.keyring()),
    })
}

fn repository() -> Repository {
    let [a, b] = packages(OLD, &vmlinux(18));
    let [c, d] = packages(NEW, &vmlinux(18));
    Repository::new(SUITE, &[a, b, c, d])
}

/// The store's entries, without its lock.
fn entries(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name != ".lock").collect()
}

fn files(folder: &Path, packages: &[Package]) -> Source {
    let write = |package: &Package| -> PathBuf {
        let path = folder.join(format!("{}.deb", package.name));
        fs::write(&path, deb(package)).unwrap();
        path
    };
    Source::Files(packages.iter().map(write).collect())
}

/// Installs from files into a new store, expects a failure and nothing left.
fn refused(packages: &[Package]) -> Error {
    let (folder, debs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let error = install(&Store::new(folder.path()), &files(debs.path(), packages))
        .expect_err("it was installed");
    assert_eq!(entries(folder.path()), [] as [&str; 0]);
    error
}

#[test]
fn the_newest_kernel_of_the_archive_is_installed_once_and_works_offline() {
    let (folder, repository) = (tempfile::tempdir().unwrap(), repository());
    let store = Store::new(folder.path());
    let kernel = install(&store, &archive(&repository)).unwrap();
    assert_eq!(kernel.version, NEW);
    assert_eq!(
        kernel.packages,
        [
            format!("linux-binary-{NEW}=1.0-1"),
            format!("linux-modules-{NEW}=1.0-1")
        ]
    );
    assert_eq!(fs::read(&kernel.vmlinux).unwrap(), vmlinux(18));
    assert!(kernel.modules.iter().all(|module| module.path.is_file()));
    assert_eq!(kernel.modules[0].group, Group::Mmio);
    assert_eq!(install(&store, &archive(&repository)).unwrap(), kernel);
    drop(repository);
    assert_eq!(store.choose(None).unwrap(), kernel);
    assert_eq!(entries(folder.path()), [NEW]);
}

#[test]
fn a_broken_signature_installs_nothing() {
    let (folder, repository) = (tempfile::tempdir().unwrap(), repository());
    let text = fs::read_to_string(repository.release()).unwrap();
    fs::write(
        repository.release(),
        text.replacen("Origin: Test", "Origin: Fake", 1),
    )
    .unwrap();
    let error = install(&Store::new(folder.path()), &archive(&repository)).unwrap_err();
    assert!(
        matches!(
            error,
            Error::Archive(cenote_debian::archive::Error::Signature { .. })
        ),
        "{error}"
    );
    assert_eq!(entries(folder.path()), [] as [&str; 0]);
}

#[test]
fn an_archive_without_a_new_kernel_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let repository = Repository::new(SUITE, &packages("7.2.12+deb13-cloud-amd64", &vmlinux(18)));
    let error = install(&Store::new(folder.path()), &archive(&repository)).unwrap_err();
    assert!(matches!(error, Error::NoKernel), "{error}");
}

#[test]
fn files_are_installed_without_an_archive() {
    let (folder, debs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = Store::new(folder.path());
    let kernel = install(&store, &files(debs.path(), &packages(OLD, &vmlinux(18)))).unwrap();
    assert_eq!(
        (kernel.version.as_str(), kernel.modules.len()),
        (OLD, MODULES.len())
    );
}

#[test]
fn one_package_of_two_is_not_enough() {
    let [binary, modules] = packages(OLD, &vmlinux(18));
    assert!(
        matches!(refused(&[binary]), Error::Incomplete { missing } if missing == format!("linux-modules-{OLD}"))
    );
    assert!(
        matches!(refused(&[modules]), Error::Incomplete { missing } if missing.starts_with("linux-binary-"))
    );
}

#[test]
fn an_old_kernel_is_refused() {
    let version = "7.2.12+deb13-cloud-amd64";
    assert!(
        matches!(refused(&packages(version, &vmlinux(18))), Error::TooOld(old) if old == version)
    );
}

#[test]
fn a_kernel_without_a_pvh_entry_is_refused() {
    let error = refused(&packages(OLD, &vmlinux(17)));
    assert!(
        matches!(
            error,
            Error::Kernel {
                source: cenote_kernel::vmlinux::Error::NoPvh,
                ..
            }
        ),
        "{error}"
    );
    let error = refused(&packages(OLD, b"no ELF file"));
    assert!(
        matches!(
            error,
            Error::Kernel {
                source: cenote_kernel::vmlinux::Error::Elf(_),
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_package_without_an_image_or_a_module_is_refused() {
    let [mut binary, mut modules] = packages(OLD, &vmlinux(18));
    let image = binary.files.pop().unwrap();
    let error = refused(&[binary, modules]);
    assert!(matches!(error, Error::NoImage { .. }), "{error}");
    [binary, modules] = packages(OLD, &vmlinux(18));
    binary.files = vec![image];
    modules
        .files
        .retain(|(name, _)| !name.ends_with("erofs.ko"));
    let error = refused(&[binary, modules]);
    assert!(
        matches!(&error, Error::Module { source: cenote_kernel::module::Error::Missing { name, .. }, .. } if name == "erofs"),
        "{error}"
    );
}
