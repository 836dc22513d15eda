use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread::{self, JoinHandle};

use cenote_protocol::{
    EXEC_PORT, ExecRequest, Exited, FrameReader, Kind, Refusal, Refused, STDIN_WINDOW, Side,
    Signal, Started, StdinTaken, Target, WindowSize, handshake, write_frame, write_message,
};

use super::{Control, Error, Output, Session};
use crate::control::Router;
use crate::log::Stream;
use crate::store::tests::spec;

/// A vsock device with an agent behind it that does what the test says.
fn guest(
    script: impl FnOnce(UnixStream) + Send + 'static,
) -> (tempfile::TempDir, PathBuf, JoinHandle<()>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("vsock.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let agent = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        // Nothing follows the line before it is answered, so the buffer holds nothing else.
        BufReader::new(stream.try_clone().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, format!("CONNECT {EXEC_PORT}\n"));
        script(stream);
    });
    (folder, path, agent)
}

/// An agent that has taken the request and started the process.
fn started(mut stream: UnixStream) -> (FrameReader<UnixStream>, UnixStream) {
    stream.write_all(b"OK 1073741824\n").unwrap();
    handshake(&mut stream, Side::Guest).unwrap();
    let mut frames = FrameReader::new(stream.try_clone().unwrap());
    assert_eq!(frames.next_message::<ExecRequest>().unwrap(), request());
    write_message(&mut stream, &Started { pid: 7 }).unwrap();
    (frames, stream)
}

fn request() -> ExecRequest {
    ExecRequest {
        target: Target::Container,
        detach: false,
        process: spec("x").process,
    }
}

#[derive(Default)]
struct Kept(Vec<(Stream, Vec<u8>)>);

impl Output for Kept {
    fn write(&mut self, stream: Stream, bytes: &[u8]) -> io::Result<()> {
        self.0.push((stream, bytes.to_vec()));
        Ok(())
    }
}

#[test]
fn output_arrives_in_order_and_the_exit_ends_it() {
    let (_folder, path, agent) = guest(|stream| {
        let (_frames, mut stream) = started(stream);
        write_frame(&mut stream, Kind::Stdout, b"out").unwrap();
        write_frame(&mut stream, Kind::Stderr, b"err").unwrap();
        write_message(&mut stream, &Exited::Code(3)).unwrap();
    });
    let mut kept = Kept::default();
    let exited = Session::start(&path, &request())
        .unwrap()
        .run(&mut kept)
        .unwrap();
    agent.join().unwrap();
    assert_eq!(exited, Exited::Code(3));
    assert_eq!(
        kept.0,
        [
            (Stream::Stdout, b"out".to_vec()),
            (Stream::Stderr, b"err".to_vec())
        ]
    );
}

#[test]
fn no_more_input_is_sent_than_the_process_takes() {
    let total = 3 * STDIN_WINDOW as usize;
    let (_folder, path, agent) = guest(move |stream| {
        let (mut frames, mut stream) = started(stream);
        let (mut unread, mut received) = (0_u32, 0);
        loop {
            let frame = frames.next_frame().unwrap().unwrap();
            if frame.kind == Kind::StdinEof {
                break;
            }
            assert_eq!(frame.kind, Kind::Stdin);
            unread += u32::try_from(frame.payload.len()).unwrap();
            received += frame.payload.len();
            assert!(unread <= STDIN_WINDOW);
            if unread == STDIN_WINDOW {
                write_message(&mut stream, &StdinTaken { bytes: unread }).unwrap();
                unread = 0;
            }
        }
        assert_eq!(received, total);
        write_message(&mut stream, &Exited::Code(0)).unwrap();
    });
    let session = Session::start(&path, &request()).unwrap();
    let (reader, mut writer) = io::pipe().unwrap();
    let _feeder = session.input().feed(OwnedFd::from(reader)).unwrap();
    let typist = thread::spawn(move || writer.write_all(&vec![b'x'; total]).unwrap());
    session.run(&mut Kept::default()).unwrap();
    typist.join().unwrap();
    agent.join().unwrap();
}

#[test]
fn a_refusal_is_told_with_its_reason() {
    let (_folder, path, agent) = guest(|mut stream| {
        stream.write_all(b"OK 5\n").unwrap();
        handshake(&mut stream, Side::Guest).unwrap();
        FrameReader::new(stream.try_clone().unwrap())
            .next_message::<ExecRequest>()
            .unwrap();
        let refused = Refused {
            reason: Refusal::NotFound,
            message: "no nonsense in PATH".to_owned(),
        };
        write_message(&mut stream, &refused).unwrap();
    });
    let error = Session::start(&path, &request()).unwrap_err();
    agent.join().unwrap();
    assert!(
        matches!(&error, Error::Refused(refused) if refused.reason.exit_code() == 127),
        "{error}"
    );
    assert_eq!(error.to_string(), "no nonsense in PATH");
}

#[test]
fn a_device_that_answers_nonsense_is_an_error_and_no_hang() {
    for answer in ["ERR refused\n", "OK", &"x".repeat(1000)] {
        let answer = answer.to_owned();
        let (_folder, path, agent) = guest(move |mut stream| {
            // The other side may have hung up before the whole answer is out.
            let _ = stream.write_all(answer.as_bytes());
        });
        assert!(matches!(
            Session::start(&path, &request()),
            Err(Error::Connect(_))
        ));
        agent.join().unwrap();
    }
}

#[test]
fn a_guest_that_vanishes_is_told_from_one_whose_process_ended() {
    let (_folder, path, agent) = guest(|stream| drop(started(stream)));
    let ended = Session::start(&path, &request())
        .unwrap()
        .run(&mut Kept::default());
    agent.join().unwrap();
    assert!(matches!(ended, Err(Error::Ended)), "{ended:?}");
}

#[test]
fn controls_reach_the_process_and_the_size_set_before_it_ran_is_not_lost() {
    let (_folder, path, agent) = guest(|stream| {
        let (mut frames, mut stream) = started(stream);
        assert_eq!(
            frames.next_message::<WindowSize>().unwrap(),
            WindowSize { rows: 24, cols: 80 }
        );
        assert_eq!(
            frames.next_message::<Signal>().unwrap(),
            Signal { number: 15 }
        );
        write_message(&mut stream, &Exited::Signal(15)).unwrap();
    });
    let router = Router::default();
    assert!(router.deliver(Control::Resize {
        rows: 24,
        columns: 80
    }));
    let session = Session::start(&path, &request()).unwrap();
    router.running(session.input(), Box::new(|_| Ok(())), Vec::new().into());
    assert!(router.deliver(Control::Signal(15)));
    let exited = session.run(&mut Kept::default()).unwrap();
    agent.join().unwrap();
    assert_eq!(exited.exit_code(), 143);
}

#[test]
fn a_signal_before_the_process_runs_gives_the_boot_up() {
    let router = Router::default();
    let (mut given_up, tell) = io::pipe().unwrap();
    let tell = File::from(OwnedFd::from(tell));
    assert!(
        !router.deliver(Control::Signal(28)),
        "a window change ends nothing"
    );
    router.booting(move || drop((&tell).write_all(b"!")));
    assert!(router.deliver(Control::Signal(2)));
    assert_eq!(router.cancelled(), Some(2));
    let mut byte = [0];
    given_up.read_exact(&mut byte).unwrap();
}
