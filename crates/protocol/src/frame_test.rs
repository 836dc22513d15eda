use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::{
    BootPlan, Capabilities, Changed, ChangedDirectory, ContainerPlan, DnsPlan, ErofsPlan,
    ExecRequest, Exited, HostEntry, MountPlan, MountSource, NestedPlan, NetworkPlan, ProcessSpec,
    ShareTransport, Started, Sysctl, Target, WindowSize, Writable,
};

fn process(args: Vec<String>) -> ProcessSpec {
    ProcessSpec {
        args,
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        create_cwd: true,
        user: "nobody:staff".into(),
        terminal: Some(WindowSize { rows: 24, cols: 80 }),
        stdin: true,
        capabilities: Capabilities::DEFAULT,
        rlimits: Vec::new(),
        no_new_privileges: false,
        init: true,
    }
}

fn plan() -> BootPlan {
    BootPlan {
        wall_clock_ns: 1_763_800_000_123_456_789,
        network: Some(NetworkPlan {
            address: [10, 0, 2, 15].into(),
            prefix: 24,
            gateway: Some([10, 0, 2, 2].into()),
            mtu: Some(65520),
            dns: DnsPlan {
                servers: vec![[10, 0, 2, 3].into()],
                search: vec!["example".into()],
                options: vec![],
            },
        }),
        sysctls: vec![Sysctl {
            name: "net.ipv4.ip_forward".into(),
            value: "1".into(),
        }],
        container: ContainerPlan {
            hostname: "web".into(),
            root: ErofsPlan {
                first: 0,
                devices: 3,
                dax: true,
            },
            writable: Writable::Disk {
                device: "vda".into(),
            },
            mounts: vec![
                MountPlan {
                    target: "/scratch".into(),
                    source: MountSource::Tmpfs,
                    options: "size=1m".into(),
                },
                MountPlan {
                    target: "/src".into(),
                    source: MountSource::Share {
                        transport: ShareTransport::VirtioFs {
                            tag: "share0".into(),
                        },
                        file: Some("notes".into()),
                        fill: true,
                    },
                    options: "ro".into(),
                },
            ],
            owner: Some("web:staff".into()),
            shm_bytes: 64 << 20,
            hosts: vec![HostEntry {
                address: [10, 0, 2, 2].into(),
                name: "host".into(),
            }],
            nested: Some(NestedPlan {
                outer: ErofsPlan {
                    first: 3,
                    devices: 9,
                    dax: true,
                },
            }),
        },
    }
}

fn request(args: Vec<String>) -> ExecRequest {
    ExecRequest {
        target: Target::Container,
        detach: false,
        process: process(args),
    }
}

/// A connection that hands over a few bytes at a time and has nothing in between.
struct Stuttering {
    bytes: Cursor<Vec<u8>>,
    step: usize,
    ready: bool,
}

impl Read for Stuttering {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.ready = !self.ready;
        if !self.ready {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let most = into.len().min(self.step);
        self.bytes.read(&mut into[..most])
    }
}

#[test]
fn the_plan_survives_the_wire() {
    let bytes = encode(&plan()).unwrap();
    let mut reader = FrameReader::new(Cursor::new(bytes));
    assert_eq!(reader.next_message::<BootPlan>().unwrap(), plan());
    assert!(reader.next_frame().unwrap().is_none());
}

#[test]
fn changes_survive_the_wire() {
    let directory = ChangedDirectory {
        mount: 2,
        path: b"some/where".to_vec(),
        inode: u64::MAX,
        itself: true,
        names: vec![b"of any bytes \xff".to_vec()],
    };
    for changed in [Changed::Entries(vec![directory]), Changed::Anything] {
        let mut reader = FrameReader::new(Cursor::new(encode(&changed).unwrap()));
        assert_eq!(reader.next_message::<Changed>().unwrap(), changed);
    }
}

#[test]
fn the_header_is_as_documented() {
    let mut wire = Vec::new();
    write_frame(&mut wire, Kind::Stdout, b"hello").unwrap();
    assert_eq!(wire, b"\x23\0\0\0\x05\0\0\0hello");
    wire.clear();
    write_frame(&mut wire, Kind::StdinEof, b"").unwrap();
    assert_eq!(wire, b"\x21\0\0\0\0\0\0\0");
}

#[test]
fn every_kind_has_its_own_byte() {
    for kind in Kind::ALL {
        assert_eq!(Kind::from_byte(kind as u8), Some(kind));
    }
    assert_eq!(Kind::from_byte(0), None);
}

#[test]
fn a_length_over_the_limit_is_refused_before_it_is_allocated() {
    for (kind, limit) in [
        (Kind::Stdin, MAX_CHUNK),
        (Kind::StdinEof, 0),
        (Kind::BootPlan, MAX_MESSAGE),
    ] {
        let mut wire = vec![kind as u8, 0, 0, 0];
        wire.extend_from_slice(&(limit as u32 + 1).to_le_bytes());
        let mut reader = FrameReader::new(Cursor::new(wire));
        let error = reader.next_frame().unwrap_err();
        assert!(
            matches!(error, FrameError::TooLong { kind: k, len } if k == kind && len == limit as u64 + 1)
        );
        assert_eq!(reader.payload.capacity(), 0);
    }
}

#[test]
fn too_long_a_message_is_refused_before_it_is_sent() {
    let mut wire = Vec::new();
    let error = write_message(&mut wire, &request(vec!["x".repeat(MAX_MESSAGE)])).unwrap_err();
    assert!(matches!(
        error,
        FrameError::TooLong {
            kind: Kind::ExecRequest,
            ..
        }
    ));
    let error = write_frame(&mut wire, Kind::Stdin, &vec![0; MAX_CHUNK + 1]).unwrap_err();
    assert!(matches!(
        error,
        FrameError::TooLong {
            kind: Kind::Stdin,
            ..
        }
    ));
    assert!(wire.is_empty());
}

#[test]
fn unknown_kinds_and_reserved_bytes_are_refused() {
    let mut reader = FrameReader::new(Cursor::new(vec![0xff, 0, 0, 0, 0, 0, 0, 0]));
    assert!(matches!(
        reader.next_frame(),
        Err(FrameError::UnknownKind(0xff))
    ));
    let mut reader = FrameReader::new(Cursor::new(vec![0x21, 0, 1, 0, 0, 0, 0, 0]));
    assert!(matches!(
        reader.next_frame(),
        Err(FrameError::Reserved([0, 1, 0]))
    ));
}

#[test]
fn bytes_behind_a_message_are_refused() {
    let mut wire = encode(&Started { pid: 7 }).unwrap();
    wire.push(0);
    wire[4] += 1;
    let mut reader = FrameReader::new(Cursor::new(wire));
    assert!(matches!(
        reader.next_message::<Started>(),
        Err(FrameError::Trailing {
            kind: Kind::Started,
            extra: 1
        })
    ));
}

#[test]
fn another_message_than_the_expected_one_is_named() {
    let wire = encode(&Exited::Code(3)).unwrap();
    let error = FrameReader::new(Cursor::new(wire))
        .next_message::<Started>()
        .unwrap_err();
    assert!(matches!(
        error,
        FrameError::Unexpected {
            got: Kind::Exited,
            ..
        }
    ));
}

proptest! {
    #[test]
    fn frames_survive_any_stutter(
        chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..8),
        step in 1usize..64,
    ) {
        let mut wire = Vec::new();
        for chunk in &chunks {
            write_frame(&mut wire, Kind::Stderr, chunk).unwrap();
        }
        let mut reader = FrameReader::new(Stuttering { bytes: Cursor::new(wire), step, ready: false });
        let mut seen = Vec::new();
        loop {
            match reader.next_frame() {
                Ok(Some(frame)) => {
                    prop_assert_eq!(frame.kind, Kind::Stderr);
                    seen.push(frame.payload.to_vec());
                }
                Ok(None) => break,
                Err(FrameError::Io(e)) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(TestCaseError::fail(e.to_string())),
            }
        }
        prop_assert_eq!(seen, chunks);
    }

    #[test]
    fn a_cut_anywhere_is_truncated(args in proptest::collection::vec(".{0,20}", 1..5), cut in any::<prop::sample::Index>()) {
        let wire = encode(&request(args)).unwrap();
        let cut = 1 + cut.index(wire.len() - 1);
        let mut reader = FrameReader::new(Cursor::new(wire[..cut].to_vec()));
        prop_assert!(matches!(reader.next_frame(), Err(FrameError::Truncated)));
    }

    #[test]
    fn requests_round_trip(args in proptest::collection::vec(".{0,40}", 0..6)) {
        let wire = encode(&request(args.clone())).unwrap();
        let seen: ExecRequest = FrameReader::new(Cursor::new(wire)).next_message().unwrap();
        prop_assert_eq!(seen, request(args));
    }

    #[test]
    fn any_bytes_give_a_frame_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut reader = FrameReader::new(Cursor::new(bytes));
        while let Ok(Some(frame)) = reader.next_frame() {
            prop_assert!(frame.payload.len() <= frame.kind.limit());
            let _ = frame.message::<BootPlan>();
            let _ = frame.message::<ExecRequest>();
            let _ = frame.message::<Changed>();
        }
    }

    #[test]
    fn any_payload_gives_a_message_or_an_error(payload in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = Frame { kind: Kind::BootPlan, payload: &payload }.message::<BootPlan>();
        let _ = Frame { kind: Kind::ExecRequest, payload: &payload }.message::<ExecRequest>();
        let _ = Frame { kind: Kind::Changed, payload: &payload }.message::<Changed>();
    }
}
