//! Mounts a directory through the server, until it is unmounted: `mount SOURCE POINT [key=value ...]`. With `trace=yes` it
//! prints every request.

use std::path::Path;
use std::sync::Arc;

use cenote_fuse::device::Session;
use cenote_fuse::passthrough::{Cache, Config, Ids, Locks, Passthrough, Readdirplus};
use cenote_fuse::server::{Observer, Served, Server};
use cenote_fuse::wire::Opcode;

/// Prints every request.
#[derive(Debug)]
struct Trace;

impl Observer for Trace {
    fn served(&self, served: &Served) {
        println!(
            "{} node {} {:?} waited {:?} took {:?}",
            served.opcode.map_or("unknown", Opcode::name),
            served.node,
            served.error,
            served.begun - served.arrived,
            served.done - served.begun,
        );
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [source, point, options @ ..] = &arguments[..] else {
        panic!("usage: mount SOURCE POINT [key=value ...]");
    };
    let mut config = Config::default();
    let mut readers = 4;
    let mut trace = false;
    for option in options {
        let (key, value) = option.split_once('=').expect("key=value");
        match (key, value) {
            ("readers", number) => readers = number.parse().expect("a number of threads"),
            ("cache", "never") => config.cache = Cache::Never,
            ("cache", "metadata") => config.cache = Cache::Metadata,
            ("cache", "auto") => config.cache = Cache::Auto,
            ("cache", "always") => config.cache = Cache::Always,
            ("idmap", "none") => config.ids = Ids::Same,
            ("idmap", "user") => {
                let uid = rustix::process::getuid().as_raw();
                let gid = rustix::process::getgid().as_raw();
                config.ids = Ids::one((uid, gid), (uid, gid));
            }
            ("locks", "local") => config.locks = Locks::Local,
            ("locks", "host") => config.locks = Locks::Host,
            ("readdirplus", "never") => config.readdirplus = Readdirplus::Never,
            ("readdirplus", "auto") => config.readdirplus = Readdirplus::Auto,
            ("readdirplus", "always") => config.readdirplus = Readdirplus::Always,
            ("writeback", yes) => config.writeback = yes == "yes",
            ("trace", yes) => trace = yes == "yes",
            ("read_only", yes) => config.read_only = yes == "yes",
            ("descriptors", number) => config.descriptors = number.parse().expect("a number"),
            _ => panic!("no such option: {option}"),
        }
    }
    let directory = Passthrough::new(Path::new(source), config).expect("the directory");
    let mut server = Server::new(directory);
    if trace {
        server = server.with_observer(Arc::new(Trace));
    }
    let session = Session::mount(Arc::new(server), Path::new(point), readers).expect("the mount");
    session.wait();
}
