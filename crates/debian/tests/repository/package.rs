//! A `.deb` made by hand.

/// One package: what its control file says and what it holds.
pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
    pub depends: &'static str,
    pub files: Vec<(String, Vec<u8>)>,
}

/// Its control file.
pub fn control(package: &Package) -> String {
    let Package {
        name,
        version,
        depends,
        ..
    } = package;
    let mut control = format!(
        "Package: {name}\nVersion: {version}\nArchitecture: amd64\nMaintainer: Test <test@example.org>\n"
    );
    if !depends.is_empty() {
        control += &format!("Depends: {depends}\n");
    }
    control + &format!("Description: {name} of the test\n")
}

/// A `.deb` with uncompressed members.
pub fn deb(package: &Package) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    let mut member = |name: &str, content: &[u8]| {
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
        if content.len() % 2 == 1 {
            bytes.push(b'\n');
        }
    };
    member("debian-binary", b"2.0\n");
    member(
        "control.tar",
        &tar(&[("control".to_owned(), control(package).into_bytes())]),
    );
    member("data.tar", &tar(&package.files));
    bytes
}

fn tar(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o755);
        archive
            .append_data(&mut header, format!("./{name}"), content.as_slice())
            .unwrap();
    }
    archive.into_inner().unwrap()
}
