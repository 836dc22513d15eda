//! Other processes, and other worlds: a second puller, a kill, a registry with TLS, a full disk.
//!
//! A test that needs one runs this test program again for one of the functions marked `ignore`, with its input in the
//! environment.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;

use cenote_image::{Error, LayerError, PullOptions, Silent, Store, WriteError};

use crate::handmade::{Layer, Layout, files};
use crate::server::{Reply, Request, Server};
use crate::support::{Fixture, Registry, layered, run, skopeo};

/// This test program, for one function.
fn again(function: &str) -> Command {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args([
        "--ignored",
        "--exact",
        "--nocapture",
        &format!("processes::{function}"),
    ]);
    command
}

/// The same in a user's own world: `set_up` is run by a shell in new namespaces (`options` of unshare(1)) first.
fn again_in(options: &str, set_up: &str, function: &str) -> Command {
    let program = again(function);
    let mut command = Command::new("unshare");
    command.args([
        options,
        "sh",
        "-euc",
        &format!("{set_up}; exec \"$@\""),
        "sh",
    ]);
    command.arg(program.get_program()).args(program.get_args());
    command
}

fn variable(name: &str) -> PathBuf {
    env::var_os(name)
        .unwrap_or_else(|| panic!("{name} is set by the test that calls this"))
        .into()
}

/// A layout of two layers: a small one and one that takes a while.
fn two_layers(fixture: &Fixture) -> (PathBuf, [String; 2]) {
    let noise: Vec<u8> = (0..500_000_u32)
        .flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    let path = fixture.path("layout");
    let layers = [
        Layer::gzip(files(&[("a", b"small")])),
        Layer::gzip(files(&[("b", &noise)])),
    ];
    let layout = Layout::new(&path, &layers);
    let blob = |position: usize| {
        layout.manifest["layers"][position]["digest"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let blobs = [blob(0), blob(1)];
    layout.finish();
    (path, blobs)
}

#[test]
#[ignore = "run by other tests in a process of its own"]
fn pull_in_this_process() {
    let store = Store::open(&variable("TEST_STORE")).unwrap();
    let reference = variable("TEST_REFERENCE")
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    store
        .pull(&reference, &PullOptions::default(), &Silent)
        .unwrap();
}

fn puller(fixture: &Fixture, reference: &str) -> Child {
    again("pull_in_this_process")
        .env("TEST_STORE", fixture.store.folder())
        .env("TEST_REFERENCE", reference)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn processes_that_pull_at_once_fetch_each_layer_once() {
    let fixture = Fixture::new();
    let (folder, blobs) = two_layers(&fixture);
    let server = Server::start(&folder, |_: &Request| None);
    let reference = server.reference().to_string();
    let pullers: Vec<Child> = (0..4).map(|_| puller(&fixture, &reference)).collect();
    for mut puller in pullers {
        assert!(puller.wait().unwrap().success());
    }
    for blob in blobs {
        assert_eq!(server.count(&blob), 1, "{blob}");
    }
    assert_eq!(fixture.store.resolve(&reference).unwrap().layers.len(), 2);
}

#[test]
fn a_killed_pull_leaves_no_half_layer_and_what_it_finished_is_used() {
    let fixture = Fixture::new();
    let (folder, [small, large]) = two_layers(&fixture);
    let (reached, large_is_half) = mpsc::channel();
    let is_first = std::sync::Mutex::new(true);
    let (folder_of_server, large_of_server) = (folder.clone(), large.clone());
    let server = Server::start(&folder, move |request: &Request| {
        if !request.path.ends_with(&large_of_server)
            || !std::mem::take(&mut *is_first.lock().unwrap())
        {
            return None;
        }
        let digits = &large_of_server["sha256:".len()..];
        let body = fs::read(folder_of_server.join("blobs/sha256").join(digits)).unwrap();
        reached.send(()).unwrap();
        Some(Reply {
            cut: Some(body.len() / 2),
            hold: true,
            ..Reply::ok(body)
        })
    });
    let reference = server.reference().to_string();
    let mut puller = puller(&fixture, &reference);
    large_is_half.recv().unwrap();
    // With one core the small layer would wait for the large one for ever.
    let cores = std::thread::available_parallelism().unwrap().get();
    let layers = fixture.store.folder().join("layers");
    if cores > 1 {
        wait_for_a_file(&layers);
    }
    puller.kill().unwrap();
    puller.wait().unwrap();
    assert!(
        Store::open(fixture.store.folder())
            .unwrap()
            .list()
            .unwrap()
            .is_empty()
    );
    let rest = fixture.stored();
    assert!(
        !rest
            .iter()
            .any(|path| path.starts_with("tmp") || path.starts_with("leases")),
        "{rest:?}"
    );
    let pulled = fixture
        .store
        .pull(&server.reference(), &PullOptions::default(), &Silent)
        .unwrap();
    assert_eq!(pulled.layers.len(), 2);
    if cores > 1 {
        assert_eq!(
            server.count(&small),
            1,
            "the finished layer is not fetched again"
        );
    }
}

/// Returns when `folder` has a file; inotify says when to look.
fn wait_for_a_file(folder: &Path) {
    use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
    let events = init(CreateFlags::empty()).unwrap();
    add_watch(&events, folder, WatchFlags::MOVED_TO).unwrap();
    while fs::read_dir(folder).unwrap().next().is_none() {
        rustix::io::read(&events, &mut [0_u8; 4096]).unwrap();
    }
}

#[test]
fn a_registry_with_tls_and_passwords() {
    let fixture = Fixture::new();
    layered(&fixture.path("three"), "v1");
    let set_up = "ip link set lo up; ip addr add 192.0.2.1/32 dev lo";
    let mut command = again_in("-rn", set_up, "with_tls");
    let home = fixture.path("");
    command
        .env("TEST_FOLDER", &home)
        .env("SSL_CERT_FILE", home.join("certificate.pem"))
        .env("REGISTRY_AUTH_FILE", home.join("auth.json"));
    run("uidmap, iproute2", &mut command);
}

/// 192.0.2.1 is an address for documentation: not loopback, so TLS is asked for. It is this namespace's own.
#[test]
#[ignore = "run by another test in a network of its own"]
fn with_tls() {
    let folder = variable("TEST_FOLDER");
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let (key, certificate) = (path("key.pem"), path("certificate.pem"));
    // One certificate that is its own authority; webpki wants it not to be called one.
    let request = "[req]\ndistinguished_name=name\nx509_extensions=more\n[name]\n[more]\n\
                   subjectAltName=IP:192.0.2.1\nbasicConstraints=critical,CA:FALSE\n";
    fs::write(path("request"), request).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args([
        "req",
        "-x509",
        "-config",
        &path("request"),
        "-nodes",
        "-days",
        "2",
    ]);
    openssl.args(["-newkey", "rsa:2048", "-subj", "/CN=test"]);
    openssl.args(["-keyout", &key, "-out", &certificate]);
    run("openssl", &mut openssl);
    // "secret" by bcrypt.
    fs::write(
        path("htpasswd"),
        "user:$2b$04$uPPOb.7Jk.gzUFPaVRElYujh0AY57ASalraQ/YsO8ryxYTqDNsQSK\n",
    )
    .unwrap();
    let http = format!("addr: '192.0.2.1:0', tls: {{certificate: '{certificate}', key: '{key}'}}");
    let auth = format!(
        "auth: {{htpasswd: {{realm: test, path: '{}'}}}}",
        path("htpasswd")
    );
    let registry = Registry::start_with(&http, &auth);
    let name = format!("{}/team/three:v1", registry.address);
    let from = format!("oci:{}:v1", path("three"));
    let to = format!("docker://{name}");
    skopeo(&[
        "copy",
        "--dest-tls-verify=false",
        "--dest-creds",
        "user:secret",
        &from,
        &to,
    ]);
    let store = Store::open(&folder.join("images")).unwrap();
    let pull = || store.pull(&name.parse().unwrap(), &PullOptions::default(), &Silent);
    let refused = pull().unwrap_err();
    assert!(
        refused.to_string().contains("without credentials"),
        "{refused}"
    );
    // "user:wrong", then "user:secret".
    for (credentials, accepted) in [("dXNlcjp3cm9uZw==", false), ("dXNlcjpzZWNyZXQ=", true)] {
        let auth = format!(
            r#"{{"auths": {{"192.0.2.1:{}": {{"auth": "{credentials}"}}}}}}"#,
            registry.port()
        );
        fs::write(path("auth.json"), auth).unwrap();
        let pulled = pull();
        assert_eq!(pulled.is_ok(), accepted, "{pulled:?}");
    }
}

#[test]
#[ignore = "run by another test on a small file system of its own"]
fn on_a_small_disk() {
    let fixture = Fixture::new();
    let folder = variable("TEST_DISK").join("images");
    let store = Store::open(&folder).unwrap();
    let load = |name: &str, layer: Layer| {
        let layout = Layout::new(&fixture.path(name), &[layer]);
        store
            .load(&layout.finish().parse().unwrap(), None, &Silent)
            .unwrap_err()
    };
    let noise: Vec<u8> = (0..(3_u32 << 20))
        .flat_map(|word| word.wrapping_mul(2_654_435_761).to_le_bytes())
        .collect();
    // zstd makes little of noise, and next to nothing of sevens.
    let error = load("noise", Layer::zstd(files(&[("noise", &noise)])));
    assert!(
        matches!(error, Error::NoSpace { needed, free, .. } if needed > free && free > 4 << 20),
        "{error:?}"
    );
    let error = load(
        "sevens",
        Layer::zstd(files(&[("sevens", &vec![7; 16 << 20])])),
    );
    assert!(
        matches!(
            &error,
            Error::Layer { source: LayerError::Write(WriteError::Io { source, .. }), .. }
                if source.kind() == std::io::ErrorKind::StorageFull
        ),
        "{error:?}"
    );
    for part in [
        "layers",
        "meta",
        "configs",
        "manifests",
        "tags",
        "leases",
        "locks",
        "tmp",
    ] {
        assert!(
            fs::read_dir(folder.join(part)).unwrap().next().is_none(),
            "{part}"
        );
    }
}

#[test]
fn a_full_disk_is_an_error_that_leaves_nothing() {
    let fixture = Fixture::new();
    let disk = fixture.path("disk");
    fs::create_dir(&disk).unwrap();
    let set_up = "mount -t tmpfs -o size=8m none \"$TEST_DISK\"";
    run(
        "util-linux",
        again_in("-rm", set_up, "on_a_small_disk").env("TEST_DISK", disk),
    );
}
