use super::*;
use cenote_sandbox::mount::Source;
use clap::Parser;
use serde_json::json;

#[derive(Parser)]
struct Probe {
    #[command(flatten)]
    flags: ContainerFlags,
}

fn flags(args: &[&str]) -> ContainerFlags {
    Probe::try_parse_from(std::iter::once(&"run").chain(args))
        .unwrap_or_else(|error| panic!("{error}"))
        .flags
}

/// An image whose configuration has this `config` object.
fn config(config: serde_json::Value) -> ImageConfiguration {
    let rootfs = json!({ "type": "layers", "diff_ids": [] });
    let all = json!({ "architecture": "amd64", "os": "linux", "config": config, "rootfs": rootfs });
    serde_json::from_value(all).unwrap()
}

fn spec_of(args: &[&str], image: serde_json::Value) -> Result<Spec, PlanError> {
    let host = Env::from([("HOME".to_owned(), "/home/me".to_owned())]);
    let reference = Image {
        reference: "localhost/x:latest".to_owned(),
        id: "sha256:0".to_owned(),
    };
    let lent = [reference.clone()];
    Plan::new(&flags(args), &host)?.spec("name".to_owned(), reference, &config(image), &lent)
}

fn spec(args: &[&str]) -> Spec {
    spec_of(args, json!({ "Cmd": ["sh"] })).unwrap()
}

#[test]
fn an_image_alone_has_podmans_defaults() {
    let spec = spec(&["x"]);
    assert_eq!(spec.process.args, ["sh"]);
    assert_eq!(spec.process.env, ["container=cenote"]);
    assert_eq!(
        (spec.process.cwd.as_str(), spec.process.create_cwd),
        ("/", true)
    );
    assert_eq!(
        (spec.process.terminal, spec.process.stdin, spec.process.init),
        (None, false, false)
    );
    assert_eq!((spec.stop_signal, spec.stop_timeout), (15, 10));
    assert_eq!(spec.resources, Resources::default());
    assert!(!spec.remove_on_exit && !spec.read_only);
    assert!(
        matches!(spec.network, Network::Default { ports, dns, add_hosts }
        if ports.is_empty() && dns.is_empty() && add_hosts.is_empty())
    );
}

#[test]
fn entrypoint_and_command() {
    let image = || json!({ "Entrypoint": ["/e", "-x"], "Cmd": ["c"] });
    for (typed, args) in [
        (&["x"][..], &["/e", "-x", "c"][..]),
        (&["x", "a", "-b"], &["/e", "-x", "a", "-b"]),
        (&["--entrypoint", "/n", "x"], &["/n"]),
        (&["--entrypoint", "/n", "x", "a"], &["/n", "a"]),
        (
            &["--entrypoint", r#"["/n","1"]"#, "x", "a"],
            &["/n", "1", "a"],
        ),
        (&["--entrypoint", "", "x", "a"], &["a"]),
    ] {
        assert_eq!(
            spec_of(typed, image()).unwrap().process.args,
            args,
            "{typed:?}"
        );
    }
    for typed in [&["x"][..], &["--entrypoint", "", "x"]] {
        let error = spec_of(typed, json!({})).unwrap_err();
        assert!(matches!(error, PlanError::NoCommand(image) if image == "localhost/x:latest"));
    }
}

#[test]
fn everything_behind_the_image_is_the_containers() {
    let spec = spec(&["--rm", "x", "ls", "--rm", "-it", "--", "--bogus", "-v"]);
    assert_eq!(
        spec.process.args,
        ["ls", "--rm", "-it", "--", "--bogus", "-v"]
    );
    assert!(!spec.process.stdin);
    assert_eq!(self::spec(&["x", "--rm"]).process.args, ["--rm"]);
    assert_eq!(self::spec(&["x", "-it"]).process.args, ["-it"]);
    assert_eq!(self::spec(&["x", "--", "a"]).process.args, ["--", "a"]);
}

#[test]
fn variables_of_image_and_flags() {
    let image = json!({ "Cmd": ["sh"], "Env": ["PATH=/bin", "A=image", "broken"] });
    let spec = spec_of(&["-e", "A=flag", "-e", "HOME", "-e", "UNSET", "x"], image).unwrap();
    assert_eq!(
        spec.process.env,
        ["A=flag", "HOME=/home/me", "PATH=/bin", "container=cenote"]
    );
}

#[test]
fn user_folder_and_signal_of_the_image_unless_given() {
    let image =
        || json!({ "Cmd": ["sh"], "User": "www", "WorkingDir": "srv", "StopSignal": "SIGQUIT" });
    let of_image = spec_of(&["x"], image()).unwrap();
    assert_eq!(
        (
            of_image.process.user.as_str(),
            of_image.process.cwd.as_str()
        ),
        ("www", "/srv")
    );
    assert_eq!(of_image.stop_signal, 3);
    let given = spec_of(
        &["-u", "1:2", "-w", "/w", "--stop-signal", "INT", "x"],
        image(),
    )
    .unwrap();
    assert_eq!(
        (given.process.user.as_str(), given.process.cwd.as_str()),
        ("1:2", "/w")
    );
    assert_eq!((given.process.create_cwd, given.stop_signal), (false, 2));
}

#[test]
fn short_flags_merge() {
    let spec = spec(&["-it", "--rm", "x"]);
    assert!(spec.process.stdin && spec.process.terminal.is_some() && spec.remove_on_exit);
}

#[test]
fn machine_flags() {
    let spec = spec(&[
        "--cpus",
        "1.5",
        "-m",
        "512m",
        "--disk=4g",
        "--read-only",
        "--tmpfs",
        "/t:size=1m",
        "--hostname",
        "h.example",
        "-l",
        "a=b",
        "--kernel",
        "7.3",
        "--vmm",
        "qemu",
        "--accel",
        "tcg",
        "--stop-timeout",
        "3",
        "x",
    ]);
    assert_eq!(
        spec.resources,
        Resources {
            cpus: 2,
            memory: 512 << 20,
            disk: 4 << 30
        }
    );
    assert_eq!(
        spec.mounts.iter().find(|mount| mount.target == "/t"),
        Some(&Mount {
            target: "/t".to_owned(),
            source: Source::Tmpfs,
            read_only: false,
            options: "size=1m".to_owned()
        })
    );
    assert_eq!(
        (spec.hostname.as_deref(), spec.kernel.as_deref()),
        (Some("h.example"), Some("7.3"))
    );
    assert_eq!(
        (spec.vmm, spec.accel, spec.stop_timeout, spec.read_only),
        (Vmm::Qemu, Accel::Tcg, 3, true)
    );
    assert_eq!(spec.labels["a"], "b");
}

#[test]
fn a_read_only_root_keeps_places_to_write() {
    let paths = |args: &[&str]| -> Vec<String> {
        spec(args)
            .mounts
            .into_iter()
            .map(|mount| mount.target)
            .collect()
    };
    assert_eq!(paths(&["x"]), [""; 0]);
    assert_eq!(paths(&["--read-only", "x"]), ["/run", "/tmp", "/var/tmp"]);
    let own = ["--read-only", "--tmpfs", "/tmp/:size=1m", "x"];
    assert_eq!(paths(&own), ["/run", "/tmp", "/var/tmp"]);
}

#[test]
fn network_flags() {
    let spec = spec(&[
        "-p",
        "8080:80",
        "--dns",
        "192.0.2.1",
        "--add-host",
        "db:192.0.2.7",
        "x",
    ]);
    let Network::Default {
        ports,
        dns,
        add_hosts,
    } = spec.network
    else {
        panic!("{:?}", spec.network)
    };
    assert_eq!(ports, ["127.0.0.1:8080:80/tcp".parse().unwrap()]);
    assert_eq!(dns, ["192.0.2.1".parse::<std::net::Ipv4Addr>().unwrap()]);
    assert_eq!(add_hosts, [("db".to_owned(), "192.0.2.7".parse().unwrap())]);
    assert!(matches!(
        self::spec(&["--net", "none", "x"]).network,
        Network::None
    ));
}

#[test]
fn contradictions_and_wants_that_cannot_be() {
    let refuse = |args: &[&str]| spec_of(args, json!({ "Cmd": ["sh"] })).unwrap_err();
    assert!(matches!(
        refuse(&["-p", "1:1", "--network", "none", "x"]),
        PlanError::NoNetwork
    ));
    assert!(matches!(
        refuse(&["-m", "1m", "x"]),
        PlanError::Memory(Size(1_048_576))
    ));
    assert!(matches!(
        refuse(&["--disk", "1k", "x"]),
        PlanError::Disk(Size(1024))
    ));
    assert!(matches!(
        refuse(&["--privileged", "x"]),
        PlanError::NotSupported(_)
    ));
    assert!(matches!(
        refuse(&["-e", "=", "x"]),
        PlanError::Env(EnvError::Bad(_))
    ));
}

#[test]
fn what_the_parser_refuses() {
    for args in [
        &[][..],
        &["--bogus", "x"],
        &["--network", "host", "x"],
        &["--name", "-x", "x"],
        &["-w", "relative", "x"],
        &["--hostname", "a b", "x"],
        &["--replace", "x"],
        &["--pull", "newer", "x"],
        &["--vmm", "xen", "x"],
    ] {
        assert!(
            Probe::try_parse_from(std::iter::once(&"run").chain(args)).is_err(),
            "{args:?}"
        );
    }
}

#[test]
fn a_nested_container_finds_cenote_behind_its_own_programs_and_has_room_for_others() {
    let image = json!({ "Cmd": ["sh"], "Env": ["PATH=/bin"] });
    let nested = spec_of(&["--nested", "x"], image.clone()).unwrap();
    assert!(
        nested
            .process
            .env
            .contains(&"PATH=/bin:/.cenote/bin".to_owned()),
        "{:?}",
        nested.process.env
    );
    assert_eq!(nested.resources.memory, 2 << 30);
    assert_eq!(nested.nested.unwrap().images.len(), 1);
    let small = spec_of(&["--nested", "--memory", "1g", "x"], image.clone()).unwrap();
    assert_eq!(small.resources.memory, 1 << 30);
    assert!(spec_of(&["x"], image).unwrap().nested.is_none());
    let bare = spec(&["--nested", "x"]).process.env;
    assert!(
        bare.contains(&format!("PATH={DEFAULT_PATH}:/.cenote/bin")),
        "{bare:?}"
    );
}
