use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use tempfile::TempDir;

use super::{Deb, Error};

/// One entry of a data archive, written without any of the checks that a tar library would make.
struct Entry<'a> {
    name: &'a str,
    kind: u8,
    link: &'a str,
    content: &'a [u8],
}

fn file<'a>(name: &'a str, content: &'a [u8]) -> Entry<'a> {
    Entry {
        name,
        kind: b'0',
        link: "",
        content,
    }
}

fn special<'a>(name: &'a str, kind: u8, link: &'a str) -> Entry<'a> {
    Entry {
        name,
        kind,
        link,
        content: b"",
    }
}

fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        let mut header = [0u8; 512];
        header[..entry.name.len()].copy_from_slice(entry.name.as_bytes());
        header[100..108].copy_from_slice(b"0000755\0");
        header[124..136].copy_from_slice(format!("{:011o}\0", entry.content.len()).as_bytes());
        header[136..148].copy_from_slice(b"00000000000\0");
        header[148..156].fill(b' ');
        header[156] = entry.kind;
        header[157..157 + entry.link.len()].copy_from_slice(entry.link.as_bytes());
        header[257..265].copy_from_slice(b"ustar  \0");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes.extend_from_slice(&header);
        bytes.extend_from_slice(entry.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

const CONTROL: &[u8] = b"Package: example\nVersion: 1:2.0-1\nArchitecture: amd64\n";

fn deb(data: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in [
        ("debian-binary", b"2.0\n".as_slice()),
        ("control.tar", &tar(&[file("./control", CONTROL)])),
        (data, content),
    ] {
        bytes.extend(
            format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
                0,
                0,
                0,
                100_644,
                content.len()
            )
            .as_bytes(),
        );
        bytes.extend_from_slice(content);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
    }
    bytes
}

/// A folder with a package file, a target `in` and a neighbour `out` that nothing may touch.
struct Place {
    folder: TempDir,
}

impl Place {
    fn with(bytes: &[u8]) -> Self {
        let place = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(place.path("example.deb"), bytes).unwrap();
        fs::create_dir(place.path("in")).unwrap();
        fs::create_dir(place.path("out")).unwrap();
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn unpack(&self) -> Result<(), Error> {
        let result = Deb::open(&self.path("example.deb"))
            .and_then(|deb| deb.unpack(&self.path("in"), |_| true));
        assert_eq!(
            fs::read_dir(self.path("out")).unwrap().count(),
            0,
            "a file was written outside the target"
        );
        result
    }
}

fn unpack(entries: &[Entry<'_>]) -> (Place, Result<(), Error>) {
    let place = Place::with(&deb("data.tar", &tar(entries)));
    let result = place.unpack();
    (place, result)
}

#[test]
fn a_package_is_read_and_unpacked_in_every_compression() {
    let data = tar(&[
        special("./usr/", b'5', ""),
        file("./usr/a", b"content"),
        special("./usr/b", b'2', "a"),
        special("./usr/c", b'1', "./usr/a"),
    ]);
    let gzip = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, &data).unwrap();
        encoder.finish().unwrap()
    };
    let xz = {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
        std::io::Write::write_all(&mut encoder, &data).unwrap();
        encoder.finish().unwrap()
    };
    let zstd = zstd::encode_all(data.as_slice(), 0).unwrap();
    for (name, content) in [
        ("data.tar", &data),
        ("data.tar.gz", &gzip),
        ("data.tar.xz", &xz),
        ("data.tar.zst", &zstd),
    ] {
        let place = Place::with(&deb(name, content));
        let deb = Deb::open(&place.path("example.deb")).unwrap();
        assert_eq!(
            (
                deb.package.as_str(),
                deb.version.as_str(),
                deb.architecture.as_str()
            ),
            ("example", "1:2.0-1", "amd64")
        );
        place.unpack().unwrap();
        for path in ["in/usr/a", "in/usr/b", "in/usr/c"] {
            assert_eq!(fs::read(place.path(path)).unwrap(), b"content", "{name}");
        }
    }
}

#[test]
fn only_what_is_wanted_is_written() {
    let place = Place::with(&deb(
        "data.tar",
        &tar(&[file("./usr/a", b"a"), file("./usr/b", b"b")]),
    ));
    let deb = Deb::open(&place.path("example.deb")).unwrap();
    deb.unpack(&place.path("in"), |path| path == Path::new("usr/b"))
        .unwrap();
    assert!(!place.path("in/usr/a").exists() && place.path("in/usr/b").exists());
}

#[test]
fn a_name_that_leads_out_is_refused() {
    for name in ["../out/x", "/out/x", "usr/../../out/x", "./../out/x"] {
        let (_, result) = unpack(&[file(name, b"x")]);
        assert!(
            matches!(&result, Err(Error::Refused { what, .. }) if what.contains("leads out")),
            "{name}: {result:?}"
        );
    }
}

#[test]
fn a_symbolic_link_cannot_carry_a_file_out() {
    // A relative one stops at the target's root; an absolute one is taken as inside it.
    for link in ["../out", "../../../../../../out"] {
        let (place, result) = unpack(&[special("./link", b'2', link), file("./link/x", b"x")]);
        assert!(
            result.is_ok() || matches!(result, Err(Error::Write { .. })),
            "{result:?}"
        );
        assert!(!place.path("out/x").exists());
    }
    let place = Place::with(b"");
    let out = place.path("out").display().to_string();
    let bytes = deb(
        "data.tar",
        &tar(&[special("./link", b'2', &out), file("./link/x", b"x")]),
    );
    fs::write(place.path("example.deb"), bytes).unwrap();
    assert!(
        matches!(place.unpack(), Err(Error::Write { name, .. }) if name == Path::new("link/x"))
    );
}

#[test]
fn a_file_replaces_a_symbolic_link_instead_of_writing_through_it() {
    let (place, result) = unpack(&[
        special("./a", b'2', "b"),
        file("./b", b"old"),
        file("./a", b"new"),
    ]);
    result.unwrap();
    assert_eq!(fs::read(place.path("in/a")).unwrap(), b"new");
    assert_eq!(fs::read(place.path("in/b")).unwrap(), b"old");
}

#[test]
fn a_hard_link_cannot_name_a_file_outside() {
    let (_, result) = unpack(&[special("./a", b'1', "../example.deb")]);
    assert!(
        matches!(&result, Err(Error::Refused { what, .. }) if what.contains("hard link")),
        "{result:?}"
    );
    let (_, result) = unpack(&[
        special("./out", b'2', "../out"),
        special("./a", b'1', "out/x"),
    ]);
    assert!(matches!(&result, Err(Error::Write { .. })), "{result:?}");
}

#[test]
fn devices_and_pipes_are_refused() {
    for kind in [b'3', b'4', b'6'] {
        let (place, result) = unpack(&[special("./null", kind, "")]);
        assert!(
            matches!(&result, Err(Error::Refused { what, .. }) if what.contains("neither")),
            "{result:?}"
        );
        assert!(!place.path("in/null").exists());
    }
}

#[test]
fn pax_headers_are_refused_as_dpkg_refuses_them() {
    let (_, result) = unpack(&[
        Entry {
            name: "./x",
            kind: b'x',
            link: "",
            content: b"13 path=../x\n",
        },
        file("./a", b""),
    ]);
    assert!(matches!(&result, Err(Error::Refused { .. })), "{result:?}");
}

#[test]
fn a_long_name_is_joined_and_an_endless_one_refused() {
    let long = format!("./usr/{}", "n".repeat(200));
    let (place, result) = unpack(&[
        Entry {
            name: "././@LongLink",
            kind: b'L',
            link: "",
            content: long.as_bytes(),
        },
        file("./short", b"x"),
    ]);
    result.unwrap();
    assert!(place.path("in").join(&long).exists());
    let endless = vec![b'n'; 5000];
    let (_, result) = unpack(&[
        Entry {
            name: "././@LongLink",
            kind: b'L',
            link: "",
            content: &endless,
        },
        file("./short", b"x"),
    ]);
    assert!(
        matches!(&result, Err(Error::Refused { what, .. }) if what.contains("longer than 4096")),
        "{result:?}"
    );
}

#[test]
fn set_user_id_is_not_restored() {
    use std::os::unix::fs::PermissionsExt;
    let mut data = tar(&[file("./su", b"x")]);
    data[100..108].copy_from_slice(b"0004755\0");
    data[148..156].fill(b' ');
    let sum: u32 = data[..512].iter().map(|byte| u32::from(*byte)).sum();
    data[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let place = Place::with(&deb("data.tar", &data));
    place.unpack().unwrap();
    assert_eq!(
        fs::metadata(place.path("in/su"))
            .unwrap()
            .permissions()
            .mode()
            & 0o7000,
        0
    );
}

#[test]
fn a_file_that_is_no_package_says_what_is_wrong() {
    let whole = deb("data.tar", &tar(&[file("./a", b"x")]));
    let reason = |bytes: &[u8]| match Place::with(bytes).unpack() {
        Err(Error::Damaged { what, .. }) => what,
        other => panic!("{other:?}"),
    };
    assert_eq!(reason(b""), "it does not begin with an ar header");
    assert_eq!(
        reason(b"PK\x03\x04 something else"),
        "it does not begin with an ar header"
    );
    assert_eq!(reason(&whole[..40]), "the header of member 0 is damaged");
    assert_eq!(
        reason(&whole[..whole.len() - 600]),
        "member data.tar claims 2048 bytes, more than the file has"
    );
    assert_eq!(reason(&deb("other.tar", b"")), "it has no data.tar");
    let mut signless = whole.clone();
    signless[8 + 48..8 + 58].copy_from_slice(b"-4        ");
    assert_eq!(reason(&signless), "the header of member 0 is damaged");
}

#[test]
fn a_bomb_is_stopped() {
    let mut reader = super::Limited {
        content: std::io::repeat(0),
        left: 10_000,
    };
    let error = std::io::copy(&mut reader, &mut std::io::sink()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "it unpacks to more than any such package"
    );
}

proptest! {
    /// Whatever bytes change, a package unpacks or is refused; it never panics and never writes elsewhere.
    #[test]
    fn damage_is_survived(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
        let mut bytes = deb("data.tar", &tar(&[file("./usr/a", b"content"), special("./usr/b", b'2', "../out"), file("./usr/b", b"x")]));
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let _ = Place::with(&bytes).unpack();
    }
}
