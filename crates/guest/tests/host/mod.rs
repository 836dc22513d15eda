//! The host's side of a process connection, as the tests need it, over a socket pair instead of vsock.
#![allow(dead_code, reason = "each test file uses a part of it")]

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::thread;

use cenote_guest::connection::Connection;
use cenote_guest::container::{Container, MainRequest};
use cenote_guest::place::MachineView;
use cenote_guest::server::Server;
use cenote_protocol::{
    Capabilities, ExecRequest, Exited, FrameReader, Kind, MAX_CHUNK, ProcessSpec, Refused, Side,
    Signal, Started, StdinTaken, StdinWindow, Target, WindowSize, handshake, write_frame,
    write_message,
};

/// A process of the machine that runs `/bin/sh -c script` as root, without terminal and input.
pub fn shell(script: &str) -> ProcessSpec {
    ProcessSpec {
        args: ["/bin/sh", "-c", script].map(String::from).to_vec(),
        env: vec!["PATH=/usr/bin:/bin".into()],
        cwd: "/".into(),
        create_cwd: false,
        user: String::new(),
        terminal: None,
        stdin: false,
        capabilities: Capabilities::ALL,
        rlimits: Vec::new(),
        no_new_privileges: false,
        init: false,
    }
}

/// The same with a terminal of 24 by 80.
pub fn on_terminal(mut spec: ProcessSpec) -> ProcessSpec {
    spec.terminal = Some(WindowSize { rows: 24, cols: 80 });
    spec
}

/// The same with standard input.
pub fn with_input(mut spec: ProcessSpec) -> ProcessSpec {
    spec.stdin = true;
    spec
}

/// A server whose machine is the one that runs the test.
pub fn server() -> (Arc<Server>, mpsc::Receiver<Box<MainRequest>>) {
    let (container, requests) = Container::new("test".into(), None);
    (
        Arc::new(Server {
            container,
            machine: MachineView::Here,
            shares: Default::default(),
        }),
        requests,
    )
}

/// A connection to an agent's server.
pub struct Host {
    stream: UnixStream,
    frames: FrameReader<UnixStream>,
    window: Arc<StdinWindow>,
}

/// What a process left.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exited: Exited,
}

impl Outcome {
    pub fn text(&self) -> String {
        String::from_utf8(self.stdout.clone()).unwrap()
    }
}

impl Host {
    /// Connects, and has the connection served by a thread.
    pub fn connect(server: &Arc<Server>) -> Host {
        let (mut stream, agent) = UnixStream::pair().unwrap();
        let server = server.clone();
        thread::spawn(move || server.serve(Connection::new(OwnedFd::from(agent))));
        handshake(&mut stream, Side::Host).unwrap();
        let frames = FrameReader::new(stream.try_clone().unwrap());
        Host {
            stream,
            frames,
            window: Arc::default(),
        }
    }

    /// Asks for a process of the machine.
    pub fn try_exec(spec: ProcessSpec) -> Result<Host, Refused> {
        let (server, _requests) = server();
        Host::connect(&server).request(Target::Vm, spec)
    }

    /// Asks for a process that must start.
    pub fn exec(spec: ProcessSpec) -> Host {
        Host::try_exec(spec).unwrap()
    }

    /// Sends a request and takes the answer.
    pub fn request(self, target: Target, process: ProcessSpec) -> Result<Host, Refused> {
        self.send_request(&ExecRequest {
            target,
            detach: false,
            process,
        })
        .map(|(host, _)| host)
    }

    pub fn send_request(mut self, request: &ExecRequest) -> Result<(Host, Started), Refused> {
        write_message(&mut self.stream, request).unwrap();
        let frame = self.frames.next_frame().unwrap().expect("an answer");
        match frame.kind {
            Kind::Started => {
                let started = frame.message().unwrap();
                Ok((self, started))
            }
            _ => Err(frame.message().unwrap()),
        }
    }

    pub fn resize(&mut self, rows: u16, cols: u16) {
        write_message(&mut self.stream, &WindowSize { rows, cols }).unwrap();
    }

    pub fn signal(&mut self, number: i32) {
        write_message(
            &mut self.stream,
            &Signal {
                number: number as u8,
            },
        )
        .unwrap();
    }

    pub fn stdin(&mut self, bytes: &[u8]) {
        self.window.spend(bytes.len() as u32);
        self.stdin_unchecked(bytes);
    }

    /// Sends input without regard to the window.
    pub fn stdin_unchecked(&mut self, bytes: &[u8]) {
        write_frame(&mut self.stream, Kind::Stdin, bytes).unwrap();
    }

    pub fn stdin_eof(&mut self) {
        write_frame(&mut self.stream, Kind::StdinEof, &[]).unwrap();
    }

    /// Sends input in the background, as fast as the window allows, and then its end.
    pub fn stdin_all(&self, bytes: Vec<u8>) {
        let (mut stream, window) = (self.stream.try_clone().unwrap(), self.window.clone());
        thread::spawn(move || {
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let Some(free) = window.wait() else { return };
                let (now, later) = rest.split_at(rest.len().min(free as usize).min(MAX_CHUNK));
                window.spend(now.len() as u32);
                write_frame(&mut stream, Kind::Stdin, now).unwrap();
                rest = later;
            }
            write_frame(&mut stream, Kind::StdinEof, &[]).unwrap();
        });
    }

    /// Reads output until it contains `text`.
    pub fn expect(&mut self, text: &str) -> Vec<u8> {
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains(text) {
            let frame = self.frames.next_frame().unwrap().expect("more output");
            match frame.kind {
                Kind::Stdout | Kind::Stderr => seen.extend_from_slice(frame.payload),
                Kind::StdinTaken => {}
                other => panic!(
                    "{other:?} before {text:?}; seen {:?}",
                    String::from_utf8_lossy(&seen)
                ),
            }
        }
        seen
    }

    /// Takes everything to the end; nothing may follow the exit.
    pub fn outcome(mut self) -> Outcome {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let frame = self
                .frames
                .next_frame()
                .unwrap()
                .expect("an exit before the end");
            match frame.kind {
                Kind::Stdout => stdout.extend_from_slice(frame.payload),
                Kind::Stderr => stderr.extend_from_slice(frame.payload),
                Kind::StdinTaken => self
                    .window
                    .taken(frame.message::<StdinTaken>().unwrap().bytes)
                    .unwrap(),
                _ => {
                    let exited = frame.message().unwrap();
                    self.window.close();
                    assert!(
                        !matches!(self.frames.next_frame(), Ok(Some(_))),
                        "a frame after the exit"
                    );
                    return Outcome {
                        stdout,
                        stderr,
                        exited,
                    };
                }
            }
        }
    }
}
