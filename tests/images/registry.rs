//! A registry on this machine's loopback, filled by skopeo.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::{fs, thread};

use sha2::{Digest, Sha256};

use super::{text, tool};

/// Ends with the value.
pub struct Registry {
    process: Child,
    port: u16,
}

impl Registry {
    /// Starts one that keeps its files in `folder`, and waits until it listens.
    pub fn start(folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let files = folder.join("registry");
        let config = folder.join("registry.yml");
        let content = format!(
            "version: 0.1\nlog: {{ level: info }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: 127.0.0.1:{port} }}\n",
            text(&files)
        );
        fs::write(&config, content).unwrap();
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(&config)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn();
        let mut process = process.unwrap_or_else(|error| {
            panic!("docker-registry: {error}: run `make test`, which installs it")
        });
        let mut log = BufReader::new(process.stderr.take().unwrap())
            .lines()
            .map_while(Result::ok);
        let listening = log.find(|line| line.contains("listening on"));
        assert!(listening.is_some(), "docker-registry ended");
        // It stops when nobody reads what it says.
        thread::spawn(move || log.for_each(drop));
        Self { process, port }
    }

    /// Pushes the image of `layout` for two platforms and an index of both; answers the index's name.
    pub fn push_two_platforms(&self, layout: &Path) -> String {
        let copy = tempfile::tempdir().unwrap();
        let copy = copy.path().join("layout");
        tool("cp", &["-r", text(layout), text(&copy)]);
        let (amd64, arm64) = (
            format!("{}:latest", text(&copy)),
            format!("{}:arm64", text(&copy)),
        );
        tool(
            "umoci",
            &[
                "config",
                "--image",
                &amd64,
                "--tag",
                "arm64",
                "--architecture",
                "arm64",
            ],
        );
        let mut entries = Vec::new();
        for (image, architecture) in [(amd64, "amd64"), (arm64, "arm64")] {
            let to = format!(
                "docker://127.0.0.1:{}/test/layers:{architecture}",
                self.port
            );
            let arguments = [
                "--insecure-policy",
                "copy",
                "--quiet",
                "--dest-tls-verify=false",
                &format!("oci:{image}"),
                &to,
            ];
            tool("skopeo", &arguments);
            let manifest = self.manifest(architecture);
            entries.push(serde_json::json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": digest(&manifest),
                "size": manifest.len(),
                "platform": { "os": "linux", "architecture": architecture },
            }));
        }
        // The other platform's comes first: who takes the first one takes the wrong one.
        entries.reverse();
        let kind = "application/vnd.oci.image.index.v1+json";
        let index =
            serde_json::json!({ "schemaVersion": 2, "mediaType": kind, "manifests": entries })
                .to_string();
        let answer = self.request(
            "PUT",
            "index",
            &format!("Content-Type: {kind}\r\n"),
            index.as_bytes(),
        );
        assert!(
            answer.starts_with(b"HTTP/1.1 201"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        format!("127.0.0.1:{}/test/layers:index", self.port)
    }

    /// The digest of the manifest or index with this tag.
    pub fn digest_of(&self, tag: &str) -> String {
        digest(&self.manifest(tag))
    }

    fn manifest(&self, tag: &str) -> Vec<u8> {
        let accept = "Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json\r\n";
        let answer = self.request("GET", tag, accept, b"");
        let end = answer
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .unwrap();
        assert!(
            answer.starts_with(b"HTTP/1.1 200"),
            "{}",
            String::from_utf8_lossy(&answer)
        );
        answer[end + 4..].to_vec()
    }

    fn request(&self, method: &str, tag: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let length = body.len();
        write!(
            stream,
            "{method} /v2/test/layers/manifests/{tag} HTTP/1.1\r\nHost: registry\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
        )
        .unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("sha256:{hex}")
}
