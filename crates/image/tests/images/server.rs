//! A registry that misbehaves as a test wants it to: HTTP/1.1, one answer for each connection.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

pub struct Request {
    /// With the query.
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
}

#[derive(Clone, Default)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
    /// Only so many bytes of the body are sent.
    pub cut: Option<usize>,
    /// The connection stays open behind what was sent, until the client closes it.
    pub hold: bool,
}

impl Reply {
    pub fn ok(body: Vec<u8>) -> Reply {
        Reply {
            status: 200,
            body,
            ..Reply::default()
        }
    }

    pub fn status(status: u16) -> Reply {
        Reply {
            status,
            ..Reply::default()
        }
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Reply {
        self.headers.push((name, value.into()));
        self
    }
}

type Handler = dyn Fn(&Request) -> Option<Reply> + Send + Sync;

/// It lives as long as the process.
pub struct Server {
    pub address: String,
    /// The paths that were asked for, in order.
    pub requests: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Serves the layout in `folder`, whose index has one image, as `test/image:latest`. `special` may answer first.
    pub fn start(
        folder: &Path,
        special: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
    ) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, folder) = (Arc::clone(&requests), folder.to_owned());
        let special: Arc<Handler> = Arc::new(special);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, folder, special) =
                    (Arc::clone(&log), folder.clone(), Arc::clone(&special));
                thread::spawn(move || serve(stream.unwrap(), &log, &folder, &*special));
            }
        });
        Server { address, requests }
    }

    pub fn reference(&self) -> cenote_image::Reference {
        format!("{}/test/image", self.address).parse().unwrap()
    }

    /// How often a path with `part` in it was asked for.
    pub fn count(&self, part: &str) -> usize {
        let requests = self.requests.lock().unwrap();
        requests.iter().filter(|path| path.contains(part)).count()
    }
}

fn serve(stream: TcpStream, log: &Mutex<Vec<String>>, folder: &Path, special: &Handler) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else {
        return;
    };
    let path = first.split(' ').nth(1).unwrap().to_owned();
    let headers = lines
        .map_while(Result::ok)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let (name, value) = line.split_once(':')?;
            Some((name.to_ascii_lowercase(), value.trim().to_owned()))
        })
        .collect();
    let request = Request { path, headers };
    log.lock().unwrap().push(request.path.clone());
    let reply = special(&request).unwrap_or_else(|| from_layout(folder, &request.path));
    // A client that has seen enough may be gone.
    let _ = answer(stream, reply);
}

fn answer(mut stream: TcpStream, reply: Reply) -> std::io::Result<()> {
    let mut head = format!(
        "HTTP/1.1 {} Answer\r\nConnection: close\r\nContent-Length: {}\r\n",
        reply.status,
        reply.body.len()
    );
    for (name, value) in &reply.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    stream.write_all(&reply.body[..reply.cut.unwrap_or(reply.body.len())])?;
    if reply.hold {
        stream.read_to_end(&mut Vec::new())?;
    }
    Ok(())
}

fn from_layout(folder: &Path, path: &str) -> Reply {
    let Some(version) = path.strip_prefix("/v2/test/image/") else {
        return Reply::status(404);
    };
    let name = match version {
        "manifests/latest" => {
            let index: serde_json::Value =
                serde_json::from_slice(&fs::read(folder.join("index.json")).unwrap()).unwrap();
            index["manifests"][0]["digest"].as_str().unwrap().to_owned()
        }
        version => version.rsplit('/').next().unwrap().to_owned(),
    };
    match fs::read(blob(folder, &name)) {
        Ok(body) => Reply::ok(body),
        Err(_) => Reply::status(404),
    }
}

fn blob(folder: &Path, digest: &str) -> PathBuf {
    folder
        .join("blobs/sha256")
        .join(digest.trim_start_matches("sha256:"))
}
