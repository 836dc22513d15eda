use cenote_protocol::{Capabilities, WindowSize};

use super::*;

fn spec(args: &[&str], env: &[&str]) -> ProcessSpec {
    ProcessSpec {
        args: args.iter().map(|text| text.to_string()).collect(),
        env: env.iter().map(|text| text.to_string()).collect(),
        cwd: "/".into(),
        create_cwd: false,
        user: String::new(),
        terminal: None,
        stdin: false,
        capabilities: Capabilities::DEFAULT,
        rlimits: Vec::new(),
        no_new_privileges: false,
        init: false,
    }
}

fn root() -> Identity {
    Identity {
        uid: 0,
        gid: 0,
        groups: Vec::new(),
        home: "/root".into(),
    }
}

#[test]
fn the_environment_gets_only_what_is_missing() {
    let mut spec = spec(&["sh"], &["HOME=/elsewhere", "PATH=/bin"]);
    assert_eq!(
        environment(&spec, &root(), "web"),
        ["HOME=/elsewhere", "PATH=/bin", "HOSTNAME=web"]
    );
    spec.terminal = Some(WindowSize { rows: 24, cols: 80 });
    assert_eq!(
        environment(&spec, &root(), "web").last().unwrap(),
        "TERM=xterm"
    );
}

#[test]
fn programs_are_searched_in_the_containers_path() {
    let env = ["PATH=/a::/b/".to_string()];
    assert_eq!(candidates("sh", &env), ["/a/sh", "./sh", "/b//sh"]);
    assert_eq!(candidates("./sh", &env), ["./sh"]);
    assert_eq!(candidates("sh", &[]).len(), 6);
}

#[test]
fn impossible_requests_are_refused_before_anything_runs() {
    for (args, cwd) in [
        (&[][..], "/"),
        (&[""], "/"),
        (&["a\0b"], "/"),
        (&["sh"], "here"),
        (&["sh"], ""),
    ] {
        let mut spec = spec(args, &[]);
        spec.cwd = cwd.into();
        let refused = Launch::prepare(&spec, &root(), "web").unwrap_err();
        assert_eq!(refused.reason, Refusal::BadRequest, "{args:?} in {cwd:?}");
    }
}
